"""H-13, H-9: an absolute target does not replace Host."""

status = 400
