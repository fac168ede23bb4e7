"""H-12: more than 4 KiB of trailers."""

status = 400
