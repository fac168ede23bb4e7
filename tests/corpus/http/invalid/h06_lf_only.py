"""H-6: bare LF everywhere; refused without waiting for more."""

status = 400
