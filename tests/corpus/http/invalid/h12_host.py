"""H-12: Host in the trailers."""

status = 400
