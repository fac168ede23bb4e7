"""H-11: the end of the stream inside the second head."""

status = 400
eof = True
requests = 1
