"""H-11: the end of the stream inside the trailers."""

status = 400
eof = True
