"""H-13: a target of b'/\x00'."""

status = 400
