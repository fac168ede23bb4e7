"""H-1: the other order, lower case."""

status = 400
