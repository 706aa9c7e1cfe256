"""FEC that follows loss in virtual time: what a host does with its client's words, around the host's own controller."""

from __future__ import annotations

from collections.abc import Sequence

from punktfunk.gamestream.control import FecStatus, decode_from_client, encode_from_client
from punktfunk.gamestream.damage import DamageSum
from punktfunk.host.stream.adaptive_fec import FecChoice

BlockReport = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""As ``ClientStream.take_block_reports`` has it: the fields of gamestream section 8.3."""


class FollowedFec:
    """Hears the client of one simulation, and keeps which percentage its frames had.

    ``percent`` is what the stream begins with, and its floor.
    """

    def __init__(self, percent: int) -> None:
        self.changes = [(0, percent)]
        """The first frame, counted from 0, that had a percentage, and that percentage."""
        self._choice = FecChoice(percent, percent)
        self._damage = DamageSum()
        self._packets = 0

    def __call__(
        self, _now_ns: int, frames: int, packets: int, loss_ppm: int | None, blocks: Sequence[BlockReport]
    ) -> int | None:
        """Return the percentage of the frames from number ``frames`` on."""
        for block in blocks:
            # Over the wire and back, as a host reads it.
            said = decode_from_client(encode_from_client(FecStatus(*block)))
            assert isinstance(said, FecStatus)
            self._damage.take(said)
        if loss_ppm is None:
            loss_ppm = self._damage.loss_ppm(packets - self._packets)
        self._packets = packets
        percent = self._choice.reported(loss_ppm, packets)
        if percent is not None and percent != self.changes[-1][1]:
            self.changes.append((frames, percent))
        return percent

    def percents(self, frames: int) -> tuple[int, ...]:
        """Return the percentage of each of so many frames."""
        found: list[int] = []
        for (first, percent), (end, _) in zip(self.changes, [*self.changes[1:], (frames, 0)], strict=True):
            found += [percent] * (min(end, frames) - first)
        return tuple(found)
