"""H-12: Content-Length in the trailers."""

status = 400
