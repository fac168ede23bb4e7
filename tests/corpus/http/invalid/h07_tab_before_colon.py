"""H-7: a tab before the colon."""

status = 400
