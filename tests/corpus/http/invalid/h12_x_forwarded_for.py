"""H-12: X-Forwarded-For in the trailers."""

status = 400
