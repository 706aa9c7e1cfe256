"""What theory has to know of a session's wire."""

from __future__ import annotations

from harness.analysis.code import Code
from harness.scenario.model import Session
from harness.scenario.protocols import GAMESTREAM


def code_of(spec: Session) -> Code:
    """Return how the wire of a session cuts and protects frames."""
    stream = spec.stream
    if spec.protocol == GAMESTREAM:
        return Code.gamestream(stream.gamestream_packet_size, stream.fec_percent)
    return Code(stream.shard.bytes, stream.block, stream.fec_percent)
