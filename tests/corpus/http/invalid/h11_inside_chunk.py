"""H-11: the end of the stream inside a chunk."""

status = 400
eof = True
