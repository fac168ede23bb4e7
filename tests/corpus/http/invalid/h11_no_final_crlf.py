"""H-11: the end of the stream in place of the final CR LF."""

status = 400
eof = True
