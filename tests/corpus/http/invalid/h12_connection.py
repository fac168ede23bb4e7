"""H-12: Connection in the trailers."""

status = 400
