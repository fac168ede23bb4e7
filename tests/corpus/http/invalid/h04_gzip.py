"""H-4: a Transfer-Encoding of b'gzip, chunked'."""

status = 400
