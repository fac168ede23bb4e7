"""H-23: an unknown expectation."""

status = 417
