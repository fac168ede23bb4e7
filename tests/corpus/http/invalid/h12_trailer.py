"""H-12: Trailer in the trailers."""

status = 400
