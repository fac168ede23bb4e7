"""H-6: bare CR in the request line."""

status = 400
