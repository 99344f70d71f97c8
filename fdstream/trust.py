"""Who is trusted: by clients and servers the keys of servers, by the coordinator the keys of clients. Pure values.

None of it is in the log and two processes may hold different ones. So a pin only says whether to take part at all,
and a trust list only which reports the coordinator writes into RoundClosing. `fdstream.keys` reads both from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fdstream.errors import RemoteError, UsageError
from fdstream.messages import FederationOpened, Report


@dataclass(frozen=True, slots=True)
class Pins:
    """What a process demands of a federation before it takes part; without keys, nothing."""

    federation: str = ""
    keys: frozenset[bytes] = frozenset()  # public keys

    def check(self, opened: FederationOpened) -> None:
        """Raises `RemoteError` unless the record that opened the federation is of the servers that are pinned.

        It counts, so a signature with one of its `server_keys` has been checked.
        """
        if not self.keys:
            return
        key = None if opened.signature is None else opened.signature.key
        if key not in self.keys or not opened.server_keys:
            who = "is not signed" if key is None else f"is signed with the key {key.hex()}"
            raise RemoteError(
                f"federation {self.federation!r} {who}, and not with a server key that is trusted here: check "
                "--server-key, and who may write to the federation's control topic"
            )
        if opened.federation != self.federation:
            raise RemoteError(
                f"the topics of federation {self.federation!r} hold a copy of federation {opened.federation!r}: "
                "check who may write to its control topic"
            )


NO_PINS = Pins()


@dataclass(frozen=True, slots=True)
class Trust:
    """The clients that may take part, each with its public key; None lets anybody in."""

    keys: Mapping[str, bytes] | None = field(default=None)

    def check(self, opened: FederationOpened) -> None:
        """Raises `UsageError` where the federation and this server disagree on whether there is a list."""
        if opened.settings.signed_reports and self.keys is None:
            raise UsageError(
                "this federation takes signed reports of the clients that its servers know: say with --trust who "
                "they are"
            )
        if self.keys is not None and not opened.settings.signed_reports:
            raise UsageError(
                "this federation is open to anyone, signed or not: leave --trust out, or choose another --federation"
            )

    def refusal(self, report: Report) -> str | None:
        """Why a report is not taken whose signature has been checked."""
        if self.keys is None:
            return None
        known = self.keys.get(report.client)
        if known is None:
            return "of a client that is not trusted"
        if report.signature is None or report.signature.key != known:
            return "signed with another key than this client's"
        return None


ANYBODY = Trust()
