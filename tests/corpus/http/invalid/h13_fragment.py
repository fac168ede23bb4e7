"""H-13: a target of b'/a#b'."""

status = 400
