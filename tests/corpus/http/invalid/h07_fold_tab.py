"""H-7: a line folded with a tab."""

status = 400
