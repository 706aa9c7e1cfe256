"""The punktfunk client without a screen as the client of a live case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.peers.host import CONTROL_PORT
from harness.peers.peer import Role, Stats
from harness.peers.process import ProcessPeer
from punktfunk.client.ending import End

_HOST_LOST = (End.HOST_GONE, End.HOST_SILENT)


class PunktfunkClient(ProcessPeer):
    """``punktfunk.client`` for one session (a :class:`~harness.peers.peer.LivePeer`); it connects at once."""

    role: ClassVar[Role] = "client"
    program: ClassVar[str] = "punktfunk.client"

    def config(self) -> dict[str, Any]:
        """Return the client's configuration, as JSON (see ``punktfunk.client.config.ClientConfig``)."""
        stream, media = self._spec.stream, self._spec.media
        reference = {"kind": "testcard", "entropy": media.entropy.value}
        return {
            "address": f"{self._place.link.host_address.ipv4}:{CONTROL_PORT}",
            "trust": "lab",
            "mode": str(media.mode),
            "codecs": [media.codec],
            "decode": media.source != "synthetic",
            "reference": reference if media.quality and media.source == "testcard" else None,
            "recovery": stream.recovery,
            "hold_undecodable": stream.hold_undecodable,
            "reorder_window": str(stream.reorder_window),
            "artefacts": str(self._left),
        }

    def stats(self) -> Stats:
        """Return what its stream counted; raise ResultsError when it left nothing."""
        left = self._left_stats()
        lost = left["ended"] if End(left["end"]) in _HOST_LOST else ""
        return Stats(left["counters"], left["at_least"], lost)

    def records(self) -> Records | None:
        """Return its frame records with those of its decoder; None when it left none."""
        received, decoded = self._table("records.npz"), self._table("decoded.npz")
        if received is None and decoded is None:
            return None
        return records.join(client=received, decoded=decoded)

    def _namespace(self) -> Namespace:
        return self._place.link.client


if TYPE_CHECKING:  # the registry names the class by a text, which no type checker follows
    from harness.peers.loading import ClientKind

    _fulfils: ClientKind = PunktfunkClient
