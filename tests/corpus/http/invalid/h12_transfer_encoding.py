"""H-12: Transfer-Encoding in the trailers."""

status = 400
