"""How a worker hands frames to a wire: what a wire's sender does, and the factory that opens it."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any, Protocol

from punktfunk.errors import ConfigError
from punktfunk.host.stream.spec import StreamSpec
from punktfunk.media import AccessUnit


class Sender(Protocol):
    """Frames and packets of one stream on their way out. Nothing in it waits, but for :meth:`flush` and :meth:`close`.

    Made by a factory, a function of a :class:`~punktfunk.host.stream.spec.StreamSpec` and the descriptor of the
    client's socket, which stays the caller's. A class that inherits from this may leave out what has a body here.
    """

    def submit(self, unit: AccessUnit) -> int:
        """Send a picture's access unit, as soon as its turn comes; return its number on the wire."""

    def flush(self, limit_s: float) -> bool:
        """Wait until everything has left, for so long at most; return whether it has."""

    def stats(self) -> dict[str, int]:
        """Return counters by name; ``bytes_sent``, ``packets_sent`` and ``frames_sent`` at least.

        Where packets can be lost on this side, ``packets_socket_dropped`` and ``packets_queue_dropped`` say how many.
        """

    def close(self) -> None:
        """Free everything at once. Closing twice is harmless."""

    def set_rate(self, kbps: int) -> None:
        """Pace for another rate; without pacing there is nothing to do."""
        return

    @property
    def fec_percent(self) -> int:
        """What pictures are protected with now: as asked for, or less where the wire sets bounds; 0 without FEC."""
        return 0

    def set_fec_percent(self, percent: int) -> None:
        """Protect the next pictures with so much."""
        return

    @property
    def payload_bytes(self) -> int:
        """Bytes of a bandwidth probe that one packet carries; 0 where there are no probes."""
        return 0

    def fill(self, data: bytes | memoryview) -> None:
        """Send filler of a bandwidth probe in a picture's place, without recovery packets."""
        return

    def take_recovery_request(self) -> bool:
        """Return, once, whether pictures were lost on this side, so that a key frame has to follow."""
        return False

    def take_refusals(self) -> tuple[int, int, int] | None:
        """Return, once, how often the client's port refused packets, and when first and last (CLOCK_MONOTONIC ns)."""
        return None

    def take_records(self) -> dict[str, bytes]:
        """Return, once, the records of frames that are through: columns of little-endian 64-bit integers.

        Names and meaning are those of ``HostStream.take_records``; a wire without records gives none.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """Return JSON values that a reader of the stream's artefacts wants to know of the wire. No keys."""
        return {}


def open_sender(spec: StreamSpec, descriptor: int, allowed: Collection[str]) -> Sender:
    """Open the sender that a stream names; raise ``ConfigError`` unless it is one of ``allowed``.

    Also raises what the factory does.
    """
    name = spec.transport.sender
    if name not in allowed:
        raise ConfigError(
            f"the sender {name!r} is none that this worker was started with", "report this as a defect"
        )
    module, _, function = name.partition(":")
    sender: Sender = getattr(importlib.import_module(module), function)(spec, descriptor)
    return sender
