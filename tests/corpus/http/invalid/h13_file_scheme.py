"""H-13: a target of b'file:///etc/passwd'."""

status = 400
