"""H-11: the end of the stream inside a body with a length."""

status = 400
eof = True
