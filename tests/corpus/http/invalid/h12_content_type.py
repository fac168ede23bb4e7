"""H-12: Content-Type in the trailers."""

status = 400
