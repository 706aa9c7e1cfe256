"""A client of this repository as one end of a live link, whatever its wire: what it leaves and where it runs."""

from __future__ import annotations

from typing import ClassVar

from harness.analysis import records
from harness.analysis.records import Records
from harness.network.namespaces import Namespace
from harness.network.pace import PATIENCE
from harness.peers.peer import Role, Stats
from harness.peers.process import ProcessPeer
from harness.scenario.protocols import GAMESTREAM
from punktfunk.client.ending import End
from punktfunk.errors import CapabilityError, CheckFailedError
from punktfunk.units import Mode

_MODE_S = 10.0 * PATIENCE
_HOST_LOST = (End.HOST_GONE, End.HOST_SILENT)


class ReceivingPeer(ProcessPeer):
    """A program that receives one session (a :class:`~harness.peers.peer.LivePeer`, but for its configuration)."""

    role: ClassVar[Role] = "client"

    def set_mode(self, mode: Mode) -> None:
        """Ask the host for another mode.

        Raises CapabilityError where the wire has no such request, CheckFailedError where the host does not accept it.
        """
        if self._spec.protocol == GAMESTREAM:
            raise CapabilityError("a GameStream client begins anew with another mode")
        self._process.send({"do": "mode", "mode": str(mode)})
        answer = self._process.wait_event("mode", _MODE_S)
        if not answer.get("accepted"):
            raise CheckFailedError(f"the host does not accept {mode}: {answer.get('cause') or 'refused'}")

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
