"""H-10: a chunk size of b'3;a\rb'."""

status = 400
