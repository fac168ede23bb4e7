"""Every exception that Longline raises on purpose.

    LonglineError
    +-- AddressError (ValueError)        an address that the grammar refuses
    +-- ConfigurationError (ValueError)  a limit, option or Worker that cannot be
    +-- StartError                       the service, or a part of it, cannot start
    +-- ControlError                     the running service could not be asked
    |   +-- NotRunningError              there is no running service to ask
    +-- ProtocolError                    bytes or messages that break a protocol
        +-- RemoteProtocolError          the peer broke it: answer, then close
        |   +-- OversizeError            the peer sent more than a limit allows
        |   +-- IncompleteError          the peer left in the middle of a message
        +-- LocalProtocolError           the caller broke it: nothing was written

A misuse of the API that has nothing to do with a protocol is a plain `TypeError`,
`ValueError` or `RuntimeError`. The state of a closed peer is never an exception:
`Connection.send` answers False.
"""

from __future__ import annotations

__all__ = [
    "AddressError",
    "ConfigurationError",
    "ControlError",
    "IncompleteError",
    "LocalProtocolError",
    "LonglineError",
    "NotRunningError",
    "OversizeError",
    "ProtocolError",
    "RemoteProtocolError",
    "StartError",
]


class LonglineError(Exception):
    """The root of all errors that Longline raises on purpose."""


class AddressError(LonglineError, ValueError):
    """An address that the grammar refuses; the text says which part and why."""


class ConfigurationError(LonglineError, ValueError):
    """An option, limit or declaration that cannot be what was asked for."""


class StartError(LonglineError):
    """The service, or a part of it, cannot start; the text is the one line for the user."""


class ControlError(LonglineError):
    """The running service did not do, or could not be asked, what a command wanted."""


class NotRunningError(ControlError):
    """There is no running service to ask."""


class ProtocolError(LonglineError):
    """Bytes or messages that break a protocol."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    Args:
        reason: One line for the log; never text that the peer chose.
        status: The HTTP status that answers it.
        close_code: The WebSocket close code that answers it (RFC 6455 section 7.4.1).
    """

    def __init__(self, reason: str, *, status: int = 400, close_code: int = 1002) -> None:
        super().__init__(reason)
        self.status = status
        self.close_code = close_code


class OversizeError(RemoteProtocolError):
    """The peer sent, or announced, more than a limit allows."""

    def __init__(self, reason: str, *, status: int = 413, close_code: int = 1009) -> None:
        super().__init__(reason, status=status, close_code=close_code)


class IncompleteError(RemoteProtocolError):
    """The peer ended its stream in the middle of a message."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol cannot express; nothing was written."""
