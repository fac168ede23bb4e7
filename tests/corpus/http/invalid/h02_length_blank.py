"""H-2: a length of blanks."""

status = 400
