"""H-12: Authorization in the trailers."""

status = 400
