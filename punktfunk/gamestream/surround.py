"""Layouts of sound: streams, coupled streams and the mapping of channels to them (gamestream section 9.3)."""

from __future__ import annotations

from dataclasses import dataclass

from punktfunk.units import Bitrate

CHANNEL_MASKS = {2: 0x3, 6: 0x3F, 8: 0x63F}
"""Speakers by number of channels, as WAVE counts them. Channels are in the order FL FR C LFE RL RR SL SR."""


@dataclass(frozen=True, slots=True)
class SurroundParams:
    """A multichannel Opus layout; ``mapping`` gives for each channel the decoded one that it takes."""

    channels: int
    streams: int
    coupled: int
    mapping: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> SurroundParams | None:
        """Read the digits of a layout for 6 or 8 channels; ``None`` for what is none."""
        if not (text.isascii() and text.isdecimal()) or len(text) < 3:
            return None
        channels, streams, coupled, *mapping = (int(digit) for digit in text)
        fits = (
            channels in {2, 6, 8}
            and streams >= 1
            and coupled <= streams
            and streams + coupled == channels
            and len(mapping) == channels
            and sorted(mapping) == list(range(channels))
        )
        return cls(channels, streams, coupled, tuple(mapping)) if fits else None

    def scrambled(self) -> SurroundParams:
        """Return what has to be advertised as normal quality so that clients use this (section 9.3)."""
        first, lfe, rest = self.mapping[:3], self.mapping[3], self.mapping[4:]
        return SurroundParams(self.channels, self.streams, self.coupled, (*first, *rest, lfe))

    def unscrambled(self) -> SurroundParams:
        """Return what clients use where this is advertised as normal quality."""
        first, middle, last = self.mapping[:3], self.mapping[3:-1], self.mapping[-1]
        return SurroundParams(self.channels, self.streams, self.coupled, (*first, last, *middle))

    def __str__(self) -> str:
        return "".join(str(digit) for digit in (self.channels, self.streams, self.coupled, *self.mapping))


@dataclass(frozen=True, slots=True)
class SurroundLayout:
    """How sound of one channel count and quality is coded."""

    params: SurroundParams
    bitrate: Bitrate


def _layout(streams: int, coupled: int, mapping: tuple[int, ...], kbps: int) -> SurroundLayout:
    return SurroundLayout(SurroundParams(len(mapping), streams, coupled, mapping), Bitrate.from_kbps(kbps))


LAYOUTS = {
    (2, False): _layout(1, 1, (0, 1), 96),
    (2, True): _layout(1, 1, (0, 1), 512),
    # Front and rear pairs are coupled, centre and LFE are mono.
    (6, False): _layout(4, 2, (0, 1, 4, 5, 2, 3), 256),
    (6, True): _layout(6, 0, (0, 1, 2, 3, 4, 5), 1536),
    (8, False): _layout(5, 3, (0, 1, 6, 7, 2, 3, 4, 5), 450),
    (8, True): _layout(8, 0, (0, 1, 2, 3, 4, 5, 6, 7), 2048),
}
"""By number of channels and whether quality is high."""


def advertised(custom: SurroundParams | None = None) -> tuple[SurroundParams, ...]:
    """Return the layouts as DESCRIBE lists them, normal quality before high, a client's own twice before all others.

    Stereo clients read none of them, but real hosts have both lines.
    """
    own = () if custom is None else (custom, custom)
    lines = []
    for (channels, high), layout in LAYOUTS.items():
        lines.append(layout.params if high or channels == 2 else layout.params.scrambled())
    return (*own, *lines)


ADVERTISED = advertised()
