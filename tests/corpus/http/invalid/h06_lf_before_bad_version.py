"""H-6: line ends are judged first, at every split."""

status = 400
