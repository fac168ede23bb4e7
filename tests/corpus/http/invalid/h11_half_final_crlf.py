"""H-11: the end of the stream inside the final CR LF."""

status = 400
eof = True
