"""One generation of code as the master sees it: a template process and its manifest.

loading --manifest--> serving --> retired
   |                     |
   +--> failed           +--> lost (died; a new template is made for the same generation)
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from .channel import Channel, ChannelError
from .interpreter import interpreter
from .logsink import open_log_file
from .outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .log import LogWriter
    from .manifest import Manifest
    from .settings import Settings

__all__ = ["Generation", "TemplateState"]

RETIRE_TIMEOUT = 10.0
"""Seconds that a template gets to finish a hook before it is ended."""
BOOT = "from longline.supervisor.template import main; main()"


class TemplateState(enum.StrEnum):
    """Where a template is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    LOST = "lost"
    RETIRED = "retired"


class Generation:
    """The template of one generation of code: started fresh, asked to fork, retired."""

    def __init__(self, number: int, settings: Settings, writer: LogWriter, relays: bool) -> None:
        self.number = number
        self.relays = relays
        """Whether the template reports exits, because its children do not become ours."""
        self.manifest: Manifest | None = None
        self.state: TemplateState = TemplateState.LOST
        self.pid: int | None = None
        self.channel: Channel | None = None
        self.outlet: Outlet | None = None
        self.retry_at: float = 0.0
        self.kill_at: float | None = None
        """When a template that was retired has to be gone."""
        self._settings = settings
        self._writer = writer

    def start(self) -> None:
        """Execute a fresh interpreter that loads the script.

        Raises:
            OSError: No process, pipe or socket could be had.
            StartError: The file for its output cannot be opened.
        """
        with contextlib.ExitStack() as ends:
            stdio = self._open_stdout(ends)
            ours, theirs = Channel.pair()
            ends.callback(theirs.close)
            failed = ends.enter_context(contextlib.ExitStack())
            failed.callback(ours.close)
            log_read, log_write = os.pipe()
            ends.callback(os.close, log_write)
            failed.callback(os.close, log_read)
            self.pid = self._execute(theirs.fileno(), log_write, stdio)
            failed.pop_all()
        self.channel = Channel(ours)
        self.outlet = Outlet(log_read, self._writer)
        self.outlet.pid = self.pid
        self.state = TemplateState.LOADING
        self.kill_at = None

    def _open_stdout(self, ends: contextlib.ExitStack) -> int | None:
        """Open what a daemon's prints go to; None for the standard output as it is."""
        path = self._settings.stdout_file
        if path is None:
            return None
        stdio = open_log_file(path)
        ends.callback(os.close, stdio)
        return stdio

    def _execute(self, channel_fd: int, log_fd: int, stdio: int | None) -> int:
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ]
        if stdio is not None:
            actions += [(os.POSIX_SPAWN_DUP2, stdio, target) for target in (1, 2)]
        for inherited in (channel_fd, log_fd):
            os.set_inheritable(inherited, True)
        return os.posix_spawn(
            sys.executable,
            interpreter(BOOT, self._order(channel_fd, log_fd)),
            dict(os.environ),
            file_actions=actions,
            setsigdef=[signal.SIGPIPE],
        )

    def _order(self, channel_fd: int, log_fd: int) -> str:
        settings = self._settings
        return json.dumps(
            {
                "script": settings.script,
                "argv": settings.argv,
                "channel": channel_fd,
                "log": log_fd,
                "log_level": settings.log_level,
                "redirect": settings.daemon and settings.stdout_file is None,
                "user": settings.user,
                "group": settings.group,
                "preload": settings.preload,
                "relays": self.relays,
                "master": os.getpid(),
                "generation": self.number,
            }
        )

    @property
    def serving(self) -> bool:
        """Whether it can fork workers now."""
        return self.state is TemplateState.SERVING

    def tell(self, body: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send one message; False when there is no template to hear it."""
        if self.channel is None:
            return False
        try:
            self.channel.send(body, fds)
        except ChannelError:
            return False
        return True

    def unlink(self, sockets: Sequence[tuple[str, int, int]]) -> bool:
        """Have it remove Unix sockets, whose paths are none of the master's.

        Returns:
            Whether it was told to, and will answer `unlinked`.
        """
        return bool(sockets) and self.serving and self.tell({"do": "unlink", "sockets": sockets})

    def flush(self) -> None:
        """Offer the template what it has not taken yet."""
        if self.channel is not None and self.channel.wants_write:
            with contextlib.suppress(ChannelError):
                self.channel.flush()

    def lost(self) -> None:
        """Note that the process is gone."""
        if self.channel is not None:
            self.channel.close()
        if self.outlet is not None:
            self.outlet.close()
        self.channel = self.outlet = self.pid = None
        if self.state is not TemplateState.RETIRED:
            self.state = TemplateState.LOST

    def retire(self) -> None:
        """Let the template go: no worker will be forked from this code again."""
        self.state = TemplateState.RETIRED
        self.tell({"do": "retire"})
        if not self.relays:
            # One that relays exits stays until the last of its children is gone.
            self.kill_at = time.monotonic() + RETIRE_TIMEOUT

    def kill(self) -> None:
        """End a template that is wanted no more, without waiting for it."""
        self.state = TemplateState.RETIRED
        self.give_up()

    def give_up(self) -> None:
        """End the process; a generation in service gets a new one."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
