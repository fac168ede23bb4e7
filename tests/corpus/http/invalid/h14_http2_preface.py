"""H-14: the preface of HTTP/2."""

status = 505
