"""Exit codes of the processes of a family; 0 is an end in good order."""

from __future__ import annotations

__all__ = ["EXIT_BUG", "EXIT_START"]

EXIT_START = 3
"""A worker that could not start: its hook raised, or its user cannot be taken on."""
EXIT_BUG = 70
"""A process that ended by an error of ours (EX_SOFTWARE of sysexits.h)."""
