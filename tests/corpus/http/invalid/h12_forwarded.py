"""H-12: Forwarded in the trailers."""

status = 400
