"""H-7: a fold behind the request line."""

status = 400
