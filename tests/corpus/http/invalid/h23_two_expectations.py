"""H-23: a known and an unknown expectation."""

status = 417
