"""What this machine can stream, encode and hear, and what it cannot, why, and what would help. Starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from punktfunk.desktop.backends import examine, examine_parts
from punktfunk.errors import CapabilityError
from punktfunk.media import Codec, available_encoders
from punktfunk.media.encoders import nvenc
from punktfunk.media.encoders.choice import choose_encoder


@dataclass(frozen=True, slots=True)
class Line:
    """One capability."""

    what: str
    ok: bool
    reason: str
    hint: str = ""
    essential: bool = False
    """Nothing is streamed without it; everything else only narrows what is."""


def consult() -> list[Line]:
    """Return every capability, desktops first, in the order in which ``serve`` prefers them."""
    lines = [Line(f"desktop, {one.name.value}", one.usable, one.reason, one.hint) for one in examine()]
    lines += [Line(part.name, part.usable, part.reason, part.hint) for part in examine_parts()]
    software = {probe.name: probe for probe in available_encoders()}
    for codec in Codec:
        choice = choose_encoder(codec, "x264")
        probe = software[choice.name]
        lines.append(
            Line(
                f"{codec} in software",
                probe.available,
                f"{choice.name} opens" if probe.available else probe.reason,
                "" if probe.available else "install a PyAV whose FFmpeg has it (pip install av)",
                essential=codec is Codec.H264,
            )
        )
    lines += [_on_the_gpu(codec) for codec in Codec]
    return lines


def verdict(lines: list[Line]) -> str:
    """Say in a sentence what ``serve`` would stream here."""
    if any(line.essential and not line.ok for line in lines):
        return "nothing can be streamed here"
    for line in lines:
        if line.what == "desktop, attached" and line.ok:
            return "punktfunk serve would stream the session that runs"
        if line.what == "desktop, headless" and line.ok:
            return "punktfunk serve would stream a headless sway"
    return "punktfunk serve would stream the test card: there is no desktop"


def _on_the_gpu(codec: Codec) -> Line:
    what = f"{codec} on the GPU"
    try:
        nvenc.examine(codec)
    except CapabilityError as error:
        return Line(what, False, error.cause, error.hint)
    return Line(what, True, "the GPU encodes it")
