"""H-13: a target of b'/\x7f'."""

status = 400
