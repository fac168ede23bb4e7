"""H-12: Cookie in the trailers."""

status = 400
