"""H-9: no field at all."""

status = 400
