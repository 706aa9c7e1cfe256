"""The loss of a stream, from what a Moonlight client says of damaged blocks (gamestream section 8.3).

Such a client says how each block came that FEC had to mend, or that was lost with its frame, eight in a tenth of a
second at most, and nothing of those that came whole. So its words are set against what was sent meanwhile.
"""

from __future__ import annotations

from typing import Final

from punktfunk.gamestream.control import FecStatus

REPORT_S: Final = 0.75
"""Between two sums; clients of punktfunk/1 report their loss as often (punktfunk/1 section 2.4)."""
LOST_BLOCK_PPM: Final = 50_000
"""What a block that could not be mended adds, as a lost frame does to a report of punktfunk/1 (section 2.4)."""
_MILLION: Final = 1_000_000
_MAX_SHARDS: Final = 1023
"""Of a block, as its packets can say it (gamestream section 7.2)."""


class DamageSum:
    """What a client said since the last sum. Nothing it says makes this grow, and no sum is above a million."""

    def __init__(self) -> None:
        self._missing = self._packets = self._lost_blocks = 0

    def take(self, status: FecStatus) -> bool:
        """Take note of a block; ``False`` for one that cannot have been."""
        sent, received = status.data + status.parity, status.data_received + status.parity_received
        if (
            not 1 <= status.data <= _MAX_SHARDS
            or sent > _MAX_SHARDS
            or status.data_received > status.data
            or status.parity_received > status.parity
        ):
            return False
        if received < status.data:
            # Given up: what has not come by now is lost.
            missing, seen = sent - received, sent
            self._lost_blocks += 1
        else:
            # Mended at once: what follows the highest packet is still on its way.
            missing = min(status.missing, sent - received)
            seen = received + missing
        self._missing += missing
        self._packets += seen
        return True

    def loss_ppm(self, packets_sent: float) -> int:
        """Return the loss since the last call, 0 to 1,000,000, and begin anew.

        ``packets_sent`` left in that time; where the client spoke of more packets, it is their share that counts.
        """
        share = round(self._missing * _MILLION / max(self._packets, packets_sent, 1))
        lost = LOST_BLOCK_PPM if self._lost_blocks else 0
        self._missing = self._packets = self._lost_blocks = 0
        return min(_MILLION, share + lost)
