"""H-6: CR CR LF."""

status = 400
