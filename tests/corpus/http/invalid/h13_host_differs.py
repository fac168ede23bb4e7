"""H-13: an absolute target for another host than Host."""

status = 400
