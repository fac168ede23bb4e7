"""H-5: Transfer-Encoding in HTTP/1.0."""

status = 400
