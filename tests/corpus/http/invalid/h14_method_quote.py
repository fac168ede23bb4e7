"""H-14: a method of b'"GET"'."""

status = 400
