"""H-10: a size that fills 64 bits; over any limit."""

status = 413
