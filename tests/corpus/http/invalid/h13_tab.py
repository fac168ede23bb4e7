"""H-13: a target of b'/\ta'."""

status = 400
