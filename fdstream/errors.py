"""Every exception fdstream raises on purpose, split by whose fault it is.

FdstreamError
├── UsageError        the caller's: a wrong setting, path or function. Nothing was sent.
├── RemoteError       the other side's: a record that breaks the protocol, a log that lost what it must keep.
└── TransportError    the transport's: the broker cannot be reached or refuses.

Expected outcomes (late, duplicate, refused, excluded) are values, not exceptions. Each message says what
happened, to what, and what to do; the command line prints it alone and exits with `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar


class FdstreamError(Exception):
    """Base of the tree; raised only through one of its branches."""

    exit_code: ClassVar[int] = 1


class UsageError(FdstreamError):
    """The caller asked for something that cannot work. Raised before anything is sent."""

    exit_code = 2


class RemoteError(FdstreamError):
    """The other side broke the protocol, or the log no longer holds what it must."""

    exit_code = 3


class TransportError(FdstreamError):
    """The broker cannot be reached, timed out, or refused an operation."""

    exit_code = 4


class FederationFailedError(RemoteError):
    """The federation ended without reaching its last round; the message carries the reason from the log."""

    exit_code = 5
