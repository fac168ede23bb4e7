"""The declared Workers of one generation of code, as the master knows them.

The template sends them as JSON. With `--user` it runs application code as another user than
the master, so that nothing in it is believed: every field is checked for type and bounds
here, and no path in it is ever opened by the master.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from ..address import Address, parse_address
from ..errors import ConfigurationError, LonglineError, StartError
from ..limits import LIMITS, Limits, check_limit

__all__ = ["Manifest", "WorkerSpec", "place_of"]

MAX_WORKERS = 256
MAX_SLOTS = 1024
MAX_BACKLOG = 2**31 - 1
"""What listen(2) takes."""
TIMES = ("stop_timeout", "drain_timeout", "drain_spread", "drain_grace", "hang_timeout")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What the master has to know of one Worker."""

    name: str
    listen: str | None
    count: int
    reuse_port: bool
    reloadable: bool
    backlog: int
    user: str | None
    unix_mode: int
    loop: str
    stop_timeout: float
    drain_timeout: float
    drain_spread: float
    drain_grace: float
    hang_timeout: float | None

    @property
    def address(self) -> Address | None:
        """Where it listens; None for a Worker without a listener."""
        return None if self.listen is None else parse_address(self.listen)

    @property
    def socket_options(self) -> tuple[Any, ...]:
        """What the file of a Unix socket cannot be given any more, once it is there."""
        unix = self.address is not None and self.address.transport == "unix"
        return (self.unix_mode, self.user) if unix else ()

    @classmethod
    def from_json(cls, raw: Any) -> WorkerSpec:
        """Check one entry of a manifest.

        Raises:
            StartError: A field is missing, has the wrong type or is out of bounds.
        """
        try:
            return cls(
                name=_text(raw, "name"),
                listen=_listen(raw),
                count=_count(raw),
                reuse_port=_flag(raw, "reuse_port"),
                reloadable=_flag(raw, "reloadable"),
                backlog=_backlog(raw),
                user=_text(raw, "user", optional=True),
                unix_mode=_mode(raw),
                loop=_text(raw, "loop") or "",
                **{name: check_limit(name, raw[name]) for name in TIMES},  # type: ignore[arg-type]  # checked by name
            )
        except KeyError as error:
            raise StartError(f"a Worker cannot be declared without {error}") from error
        except (TypeError, ValueError, OverflowError, LonglineError) as error:
            raise StartError(f"a Worker cannot be declared like this: {error}") from error


@dataclass(frozen=True, slots=True)
class Manifest:
    """The Workers of one generation, by name and in their order."""

    application: str
    workers: dict[str, WorkerSpec]
    core: str
    """Which core the workers run: "compiled" or "python"."""
    limits: Limits
    """The application's own bounds (scope "app")."""

    @classmethod
    def from_json(cls, raw: Any) -> Manifest:
        """Check a whole manifest.

        Raises:
            StartError: It is malformed, too large, or declares a name or an address twice.
        """
        if not isinstance(raw, dict) or not isinstance(raw.get("workers"), list):
            raise StartError("the template sent no list of Workers")
        if len(raw["workers"]) > MAX_WORKERS:
            raise StartError(f"more than {MAX_WORKERS} Workers")
        workers: dict[str, WorkerSpec] = {}
        listens: dict[str, str] = {}
        for spec in map(WorkerSpec.from_json, raw["workers"]):
            if spec.name in workers:
                raise StartError(f"two Workers are named {spec.name!r}; give one a name of its own")
            address = spec.address
            place = "" if address is None else place_of(address)
            if place:
                if place in listens:
                    raise StartError(
                        f"{spec.name!r} and {listens[place]!r} listen on {spec.listen}"
                    )
                listens[place] = spec.name
            workers[spec.name] = spec
        if not workers:
            raise StartError("the script declares no Worker")
        return cls(_application(raw), workers, _core(raw), _limits(raw))


def _text(raw: dict[str, Any], key: str, *, optional: bool = False) -> Any:
    value = raw[key]
    if value is None and optional:
        return None
    if not isinstance(value, str) or len(value) > 256 or not value.isprintable() or not value:
        raise ConfigurationError(f"{key} is no printable text of at most 256 characters")
    return value


def place_of(address: Address) -> str:
    """Return what only one Worker can listen on, "" where the kernel picks a port."""
    if address.port == 0:
        return ""
    return address.path or f"{address.host} {address.port} {address.transport}"


def _application(raw: dict[str, Any]) -> str:
    try:
        return str(_text(raw, "application"))
    except (KeyError, ConfigurationError):
        raise StartError(
            "the application's name is no printable text of at most 256 characters"
        ) from None


def _listen(raw: dict[str, Any]) -> str | None:
    listen: str | None = _text(raw, "listen", optional=True)
    if listen is None:
        return None
    address = parse_address(listen)
    if address.transport == "udp":
        raise ConfigurationError(f"{listen}: UDP is not served yet")
    if address.transport == "tcp":
        # A name would make the master wait for a name server.
        ipaddress.ip_address(address.host)
    return listen


def _backlog(raw: dict[str, Any]) -> int:
    backlog = check_limit("backlog", raw["backlog"])
    if backlog is None or backlog > MAX_BACKLOG:
        raise ConfigurationError(f"backlog must be 1 to {MAX_BACKLOG}")
    return int(backlog)


def _count(raw: dict[str, Any]) -> int:
    count = raw["count"]
    if type(count) is not int or not 1 <= count <= MAX_SLOTS:
        raise ConfigurationError(f"count must be 1 to {MAX_SLOTS}, not {count!r}")
    return count


def _flag(raw: dict[str, Any], key: str) -> bool:
    if type(raw[key]) is not bool:
        raise ConfigurationError(f"{key} must be true or false")
    return bool(raw[key])


def _mode(raw: dict[str, Any]) -> int:
    mode = raw["unix_mode"]
    if type(mode) is not int or not 0 <= mode <= 0o777:
        raise ConfigurationError("unix_mode must be 0 to 0o777")
    return mode


def _limits(raw: dict[str, Any]) -> Limits:
    """Return the bounds that the application set, the defaults of the others."""
    limits = raw.get("limits", {})
    if not isinstance(limits, dict):
        raise StartError("the application's limits are no object")
    known = {name: value for name, value in limits.items() if name in LIMITS}
    try:
        return Limits(**known)
    except ConfigurationError as error:
        raise StartError(f"the application's limits cannot be: {error}") from error


def _core(raw: dict[str, Any]) -> str:
    return "compiled" if raw.get("core") == "compiled" else "python"
