"""How a stream's sound is coded: what wires agree on, and what is recorded and coded for it. Loads no codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """Sound at 48 kHz as one sequence of Opus packets; the default is punktfunk/1's (section 3.2).

    Channels are in the order FL FR C LFE RL RR SL SR. ``mapping`` has a digit for each: which of the decoded channels
    it is, those of the coupled streams, two each, before those of the others (RFC 7845 section 5.1.1).
    """

    channels: int = 2
    streams: int = 1
    coupled: int = 1
    mapping: str = "01"
    bitrate_kbps: int = 128
    packet_ms: Literal[5, 10] = 5
    continuous: bool = False
    """Packets of one length, in real time whatever is to be heard; else few and empty ones tell of silence."""


DEFAULT_SOUND = SoundFormat()
