"""H-14: a version of b'HTTP/\xd9\xa1.\xd9\xa1'."""

status = 400
