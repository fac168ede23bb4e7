"""H-4: two fields that differ."""

status = 400
