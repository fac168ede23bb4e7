"""H-6: bare LF behind the request line."""

status = 400
