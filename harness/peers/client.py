"""The punktfunk client without a screen as the client of a live case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from harness.peers.host import CONTROL_PORT
from harness.peers.receiving import ReceivingPeer


class PunktfunkClient(ReceivingPeer):
    """``punktfunk.client`` for one session (a :class:`~harness.peers.peer.LivePeer`); it connects at once."""

    program: ClassVar[str] = "punktfunk.client"

    def config(self) -> dict[str, Any]:
        """Return the client's configuration, as JSON (see ``punktfunk.client.config.ClientConfig``)."""
        stream, media = self._spec.stream, self._spec.media
        reference = {"kind": "testcard", "entropy": media.entropy.value}
        return {
            "address": f"{self._place.link.host_address.ipv4}:{CONTROL_PORT}",
            "trust": "lab",
            "mode": str(media.mode),
            # A program of another project streams as long as it likes.
            "seconds": media.duration_ns / 1e9 if "host" in self._spec.foreign else None,
            "codecs": [media.codec],
            "decode": media.source != "synthetic",
            "reference": reference if media.quality and media.source == "testcard" else None,
            "recovery": stream.recovery,
            "hold_undecodable": stream.hold_undecodable,
            "reorder_window": str(stream.reorder_window),
            "artefacts": str(self._left),
        }


if TYPE_CHECKING:  # the registry names the class by a text, which no type checker follows
    from harness.peers.loading import ClientKind

    _fulfils: ClientKind = PunktfunkClient
