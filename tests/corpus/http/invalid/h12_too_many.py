"""H-12: more than 20 trailers."""

status = 400
