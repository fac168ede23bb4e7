"""H-13: a target of b'ftp://a/'."""

status = 400
