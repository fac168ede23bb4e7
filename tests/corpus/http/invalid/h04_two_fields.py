"""H-4: two fields."""

status = 400
