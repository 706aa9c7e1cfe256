"""The commands that work on a desktop without a stream: record one, draw the test card into one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from punktfunk.errors import CheckFailedError
from punktfunk.media import Codec, EncoderConfig, choose_encoder
from punktfunk.process import loading
from punktfunk.process.program import config_error
from punktfunk.terminal import say

if TYPE_CHECKING:
    from punktfunk.host.record import Progress, Recording

INTERRUPTED = 130


def record(  # noqa: PLR0917 - the options of a command line
    out: Annotated[Path, typer.Option(help="File to make: .mkv, .mp4 or .mov.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to record.")] = 10.0,
    app: Annotated[
        str | None, typer.Option(help="Program to show, with its arguments; default: the test card.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Mode of the virtual output.")] = "1280x720@60",
    codec: Annotated[Codec, typer.Option(help="What to code the pictures in.")] = Codec.H264,
    bitrate: Annotated[str, typer.Option(help="Such as '10 Mbit/s'.")] = "10 Mbit/s",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a file that is there.")] = False,
) -> None:
    """Record a desktop that nobody sees: the proof that the whole path holds on this machine.

    A headless sway shows a program; its pictures are captured and encoded, every access unit is sent through
    the protocol core over loopback and compared byte for byte, and what came out becomes the file.
    """
    from punktfunk.desktop.program import program_of
    from punktfunk.host.record import TESTCARD, Watch, check_target, record_desktop

    check_target(out, overwrite=overwrite)
    chosen = choose_encoder(codec)
    try:
        encoder = EncoderConfig.model_validate(
            {"encoder": chosen.name, "fallbacks": chosen.fallbacks, "mode": mode, "bitrate": bitrate}
        )
    except ValidationError as error:
        raise config_error(error, "command line") from None
    loading.ready()
    watch = Watch(on_progress=_say_progress)
    before = {number: signal.signal(number, _stopper(watch.stop)) for number in _ENDINGS}
    try:
        recording = record_desktop(
            encoder, out, seconds=seconds, program=program_of(app) or TESTCARD, watch=watch
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    say(_last_line(recording))
    if watch.stop.is_set() and not recording.frames:
        raise typer.Exit(INTERRUPTED)
    if recording.corrupt:
        raise CheckFailedError(
            f"{recording.corrupt} of {recording.frames} access units came back changed",
            "the file holds the intact ones; run again, and report it if it lasts",
        )
    if not recording.passed:
        raise CheckFailedError(
            f"{recording.missing} of {recording.frames} access units did not come back, though sent many times: "
            "this machine gives the recorder too little time",
            "the file holds the others, which are intact; record beside less work, or in a smaller mode",
        )
    if watch.stop.is_set():
        raise typer.Exit(INTERRUPTED)


def draw_testcard(  # noqa: PLR0917 - the options of a command line
    display: Annotated[
        str | None, typer.Option(help="The compositor's socket; default: WAYLAND_DISPLAY.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The output to fill; default: the compositor chooses.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="End after this long; default: when told to.")] = None,
    entropy: Annotated[float, typer.Option(min=0, max=1, help="0 is smooth, 1 is noise.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Texture of the card.")] = 0,
    tag: Annotated[int, typer.Option(min=0, max=65535, help="Number in the frame marker.")] = 0,
) -> None:
    """Draw the coded test card into a Wayland session, fullscreen.

    Every picture carries its number and the time at which drawing began, so that what a client shows can be
    read back and timed. Prints one JSON line with the first picture and one at the end.
    """
    from punktfunk.desktop.testcard import draw

    loading.ready()
    draw(display=display, output=output, seconds=seconds, entropy=entropy, seed=seed, tag=tag)


_ENDINGS = (signal.SIGINT, signal.SIGTERM)


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    return handle


def _say_progress(progress: Progress) -> None:
    megabits = progress.bytes * 8 / progress.seconds / 1e6
    say(
        f"{int(progress.seconds):5d} s  {progress.frames:5d} frames  {progress.intact:5d} intact  "
        f"{megabits:6.2f} Mbit/s"
    )


def _last_line(recording: Recording) -> str:
    counters = recording.capture
    again = f", {recording.sent_again} sent again on a busy machine" if recording.sent_again else ""
    return (
        f"recorded {recording.path}: {recording.frames} frames of {recording.mode} in {recording.seconds:.1f} s "
        f"({recording.fps:.1f} fps, {counters.get('repeated', 0)} repeated), {recording.codec}, "
        f"{recording.bytes / 1e6:.1f} MB · {recording.intact} of {recording.frames} byte for byte through the "
        f"core in {recording.packets} packets{again}"
    )
