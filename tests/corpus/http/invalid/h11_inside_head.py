"""H-11: the end of the stream inside a head."""

status = 400
eof = True
