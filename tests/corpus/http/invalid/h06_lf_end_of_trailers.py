"""H-6: bare LF for the end of the trailers."""

status = 400
