"""What the control server of GameStream asks of the host: whose a connection is, and where its messages go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from punktfunk.gamestream.control import (
    FecStatus,
    IdrRequest,
    Invalidate,
    LongTermAck,
    LossStats,
    StartB,
)
from punktfunk.host.client_session import ClientSession
from punktfunk.input import InputEvent, PadInput

ControlMessage = (
    IdrRequest | StartB | Invalidate | FecStatus | LongTermAck | LossStats | InputEvent | PadInput
)
"""What the owner hears of a client, in order of arrival: control messages, and input as every wire has it."""


@dataclass(frozen=True, slots=True)
class ControlKeys:
    """Whose a connection is, and how its messages are sealed."""

    session: ClientSession
    rikey: bytes = field(repr=False)
    v2: bool
    """Bit 0 of the announced ``encryptionEnabled`` (gamestream section 10.3)."""


class ControlOwner(Protocol):
    """Implemented by the server of the wire. All of it returns at once; it is called in the host's event loop."""

    def session_for(self, connect_data: int, address: str) -> ControlKeys | None:
        """Return the session that waits for the control connection with this data; ``None`` lets it go unanswered.

        Asked for every CONNECT, which anybody can send from any address. ``address`` tells only those sessions that
        have no data: clients without bit 1 of ``x-ml-general.featureFlags``, whose ``connect_data`` is 0.
        """

    def connected(self, session: ClientSession) -> None:
        """Take note that the client is there."""

    def received(self, session: ClientSession, message: ControlMessage) -> None:
        """Take what the client says."""

    def gone(self, session: ClientSession, reason: str) -> None:
        """Take note that the client has left, was silent for 10 s, or was sent away; nothing comes after this."""
