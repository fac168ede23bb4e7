"""H-1: Content-Length and Transfer-Encoding."""

status = 400
