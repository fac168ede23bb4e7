"""H-14: more than one empty line before a request."""

status = 400
