"""Every bound of Longline: one name, one default, one reason.

`LIMITS` is the whole table; docs/limits.md is generated from it. A `Worker` takes those of
scope "worker" as keywords, `app.configure` those of scope "app". `None` means unlimited and
has to be written out: 0 is refused, so that no limit is ever turned off by accident.

Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .errors import ConfigurationError

__all__ = ["LIMITS", "Limit", "Limits", "check_limit"]

KIB = 1024
LARGEST = 2**53
"""Above it a limit is no limit, and a float no exact number."""
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound: what it bounds, its default, and what happens past it."""

    name: str
    default: float | None
    unit: Literal["bytes", "seconds", "count", "bytes/s"]
    scope: Literal["worker", "app"]
    bounds: str
    excess: str
    reason: str
    optional: bool = True
    """Whether None (unlimited) may be asked for."""


LIMITS: dict[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit(
            "max_request_line",
            8 * KIB,
            "bytes",
            "worker",
            "HTTP request line",
            "414, close",
            "nginx and Apache allow 8 KiB",
            optional=False,
        ),
        Limit(
            "max_head_bytes",
            16 * KIB,
            "bytes",
            "worker",
            "HTTP header block, whole",
            "431, close",
            "Workerman and Node allow 16 KiB",
            optional=False,
        ),
        Limit(
            "max_headers",
            100,
            "count",
            "worker",
            "HTTP header fields",
            "431, close",
            "Apache and gunicorn allow 100",
            optional=False,
        ),
        Limit(
            "max_body_bytes",
            10 * MIB,
            "bytes",
            "worker",
            "HTTP body that is buffered",
            "413, close",
            "Workerman allows 10 MiB; nginx 1 MiB",
        ),
        Limit(
            "max_fields",
            1000,
            "count",
            "worker",
            "fields of a form or a query string",
            "413 or 400, close",
            "PHP and Django allow 1,000",
        ),
        Limit(
            "max_message_bytes",
            10 * MIB,
            "bytes",
            "worker",
            "one message of text, frame, jsonl, WebSocket or a protocol of one's own",
            "close (WebSocket: 1009)",
            "Workerman allows 10 MiB",
        ),
        Limit(
            "max_connections",
            10_000,
            "count",
            "worker",
            "connections of one process",
            "accepting pauses; counted",
            "never above RLIMIT_NOFILE - 128",
        ),
        Limit(
            "max_connections_per_ip",
            None,
            "count",
            "worker",
            "connections of one peer address in one process",
            "close before reading",
            "off: many users share the address of a gateway",
        ),
        Limit(
            "head_timeout",
            15.0,
            "seconds",
            "worker",
            "from the first byte of an HTTP request to the end of its head",
            "408, close",
            "Apache's RequestReadTimeout begins at 20 s; nginx waits 60 s",
        ),
        Limit(
            "first_byte_timeout",
            10.0,
            "seconds",
            "worker",
            "from the accept to the first byte of the first HTTP request",
            "close",
            "a browser's unused preconnection lives no longer than this",
        ),
        Limit(
            "min_body_rate",
            256,
            "bytes/s",
            "worker",
            "progress of an HTTP body over each 10 s",
            "408, close",
            "Apache asks for 500 B/s, a poor mobile link still gives 1 KiB/s",
        ),
        Limit(
            "idle_timeout",
            60.0,
            "seconds",
            "worker",
            "a connection without traffic: HTTP between two requests (60 s), "
            "other protocols only when asked for",
            "close",
            "nginx keeps 75 s, browsers give up after 60 to 300 s",
        ),
        Limit(
            "write_timeout",
            30.0,
            "seconds",
            "worker",
            "queued data of which the peer takes nothing",
            "close, reason slow_reader",
            "nginx's send_timeout is 60 s",
        ),
        Limit(
            "close_timeout",
            5.0,
            "seconds",
            "worker",
            "flush of the last data and close handshake",
            "abort",
            "websockets waits 10 s, Node 30 s",
            optional=False,
        ),
        Limit(
            "max_send_buffer",
            1 * MIB,
            "bytes",
            "worker",
            "data queued for one peer",
            "send answers False; byte streams close",
            "Workerman's maxSendBufferSize",
        ),
        Limit(
            "ping_interval",
            25.0,
            "seconds",
            "worker",
            "silence of a WebSocket peer before it is pinged",
            "ping",
            "below the 30 to 60 s at which NAT routers forget a connection",
        ),
        Limit(
            "ping_timeout",
            20.0,
            "seconds",
            "worker",
            "answer to a WebSocket ping",
            "close, reason heartbeat",
            "as websockets",
        ),
        Limit(
            "fragment_timeout",
            60.0,
            "seconds",
            "worker",
            "an unfinished WebSocket message",
            "close 1008",
            "as the slowest upload that a chat should bear",
        ),
        Limit(
            "response_timeout",
            60.0,
            "seconds",
            "worker",
            "a handler of one HTTP request",
            "503, logged",
            "nginx's proxy_read_timeout; streams and deferred answers are excepted",
        ),
        Limit(
            "max_pending",
            64,
            "count",
            "worker",
            "messages that wait behind a handler of the same connection",
            "reading pauses",
            "enough to keep a pipelining client busy",
            optional=False,
        ),
        Limit(
            "backlog",
            4096,
            "count",
            "worker",
            "connections that wait in one slot's socket",
            "the kernel refuses",
            "net.core.somaxconn of current kernels",
            optional=False,
        ),
        Limit(
            "stop_timeout",
            10.0,
            "seconds",
            "worker",
            "stop: a worker process finishes what is in flight",
            "connections closed, then killed",
            "Docker's own patience is 10 s",
            optional=False,
        ),
        Limit(
            "drain_timeout",
            30.0,
            "seconds",
            "worker",
            "reload: the old worker process lets go of its connections",
            "closed, then killed",
            "gunicorn's graceful_timeout",
            optional=False,
        ),
        Limit(
            "drain_spread",
            10.0,
            "seconds",
            "worker",
            "spread of the closes of long connections in a reload",
            "-",
            "10,000 clients that come back at once are an outage of their own",
            optional=False,
        ),
        Limit(
            "drain_grace",
            2.0,
            "seconds",
            "worker",
            "quiet time after which a draining process closes an idle connection",
            "close",
            "longer than a round trip, so that no request crosses the close",
            optional=False,
        ),
        Limit(
            "hang_timeout",
            60.0,
            "seconds",
            "worker",
            "a running but silent event loop",
            "stacks to the log, kill, replace",
            "uvicorn's 5 s killed healthy processes",
        ),
        Limit(
            "ready_timeout",
            None,
            "seconds",
            "app",
            "start until every slot is ready",
            "the start fails",
            "imports and caches may take minutes",
        ),
        Limit(
            "graceful_timeout",
            3600.0,
            "seconds",
            "app",
            "stop -g and reload -g",
            "as a plain stop",
            "an hour: a deadline, where Workerman has none",
            optional=False,
        ),
    )
}


def check_limit(name: str, value: Any) -> float | None:
    """Return `value` as the limit `name`, or refuse it.

    Raises:
        ConfigurationError: No limit has that name, or the value is no positive number of the
            right kind; the text says what is allowed.
    """
    limit = LIMITS.get(name)
    if limit is None:
        raise ConfigurationError(f"no limit is named {name!r}")
    if value is None:
        if not limit.optional:
            raise ConfigurationError(f"{name} cannot be unlimited")
        return None
    whole = limit.unit in ("bytes", "count")
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{name} takes {kind} of {limit.unit}, not {value!r}")
    if not 0 < value <= LARGEST:
        unlimited = " (unlimited is None)" if limit.optional else ""
        raise ConfigurationError(f"{name} must be above 0{unlimited}, not {str(value)[:40]}")
    return value if whole else float(value)


class Limits:
    """The bounds of one Worker, or of the application: an attribute each.

    Args:
        **overrides: Values that differ from the defaults of `LIMITS`.

    Raises:
        ConfigurationError: As `check_limit`.
    """

    max_request_line: int
    max_head_bytes: int
    max_headers: int
    max_body_bytes: int | None
    max_fields: int | None
    max_message_bytes: int | None
    max_connections: int | None
    max_connections_per_ip: int | None
    head_timeout: float | None
    first_byte_timeout: float | None
    min_body_rate: float | None
    idle_timeout: float | None
    write_timeout: float | None
    close_timeout: float
    max_send_buffer: int | None
    ping_interval: float | None
    ping_timeout: float | None
    fragment_timeout: float | None
    response_timeout: float | None
    max_pending: int
    backlog: int
    stop_timeout: float
    drain_timeout: float
    drain_spread: float
    drain_grace: float
    hang_timeout: float | None
    ready_timeout: float | None
    graceful_timeout: float

    __slots__ = tuple(LIMITS)

    def __init__(self, **overrides: Any) -> None:
        for name, limit in LIMITS.items():
            value = overrides.pop(name) if name in overrides else limit.default
            setattr(self, name, check_limit(name, value))
        for name in overrides:
            check_limit(name, None)

    def replace(self, **overrides: Any) -> Limits:
        """Return a copy with some bounds replaced."""
        return Limits(**({name: getattr(self, name) for name in LIMITS} | overrides))
