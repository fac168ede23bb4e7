"""How a fresh interpreter of ours is started: the master, and each template.

`-P` keeps the working directory out of the module path. Without it, root would import a
module that whoever owns that directory put there, long before it drops its privileges.
"""

from __future__ import annotations

import os
import sys

__all__ = ["interpreter"]


def interpreter(code: str, *arguments: str) -> list[str]:
    """Return the command that runs `code` under the flags of this interpreter."""
    flags = ["-P"]
    if os.geteuid() == 0:
        # A HOME that sudo kept may hold modules of the user who typed the command.
        flags.append("-s")
    if sys.flags.optimize:
        flags.append("-" + "O" * sys.flags.optimize)
    if sys.flags.dev_mode:
        flags += ["-X", "dev"]
    for warning in sys.warnoptions:
        flags += ["-W", warning]
    return [sys.executable, *flags, "-c", code, *arguments]
