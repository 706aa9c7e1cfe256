"""Encoders of a GPU, each opened for two pictures in a process of their own before anybody counts on them.

What a driver says that it can is not always what it does; one that crashes or hangs takes no host along, and what it
keeps for itself (a CUDA context, a compiler for shaders) goes with that process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Final

from punktfunk.errors import (
    CodecUnavailableError,
    CodecUnsupportedError,
    DeviceMissingError,
    DriverMissingError,
    EngineMissingError,
    PunktfunkError,
)
from punktfunk.interpreter import module_command
from punktfunk.media.encoders.base import EncoderConfig, EncoderName
from punktfunk.units import Mode

MODE: Final = Mode(640, 480, 60)
"""Larger than what any GPU asks for at least."""
LIMIT_S: Final = 20.0
"""Three encoders open in one second on a slow machine; what takes longer hangs."""
_PR_SET_PDEATHSIG: Final = 1
_HINT: Final = "update the GPU's driver, or use --encoder x264"
_ERRORS: Final = {
    error.code: error
    for error in (
        CodecUnavailableError,
        CodecUnsupportedError,
        DeviceMissingError,
        DriverMissingError,
        EngineMissingError,
    )
}


def check_isolated(
    names: tuple[EncoderName, ...], limit_s: float = LIMIT_S
) -> dict[EncoderName, PunktfunkError]:
    """Try each encoder, and return why those are refused that are.

    One process tries them all; where one ends it, another goes on behind that one.
    """
    refused: dict[EncoderName, PunktfunkError] = {}
    left = list(names)
    while left:
        said, ended, hung = _run(left, limit_s)
        told = _read(said.splitlines(), left)
        refused.update({name: error for name, error in told.items() if error is not None})
        left = [name for name in left if name not in told]
        if not left:
            break
        culprit = left.pop(0)
        refused[culprit] = CodecUnavailableError(f"opening {culprit} {ended}", _HINT)
        if hung:
            # A GPU that hangs would do so three times.
            refused.update({name: CodecUnavailableError(f"{culprit} hangs", _HINT) for name in left})
            break
    return refused


def _run(names: Iterable[EncoderName], limit_s: float) -> tuple[bytes, str, bool]:
    """Return what a process said that tries these encoders, how it ended in words, and whether it had to be ended."""
    command = [*module_command(__name__), *names]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as expired:
        return expired.stdout or b"", f"hangs: nothing came of it in {limit_s:g} s", True
    except OSError as error:
        return b"", f"could not be tried: {error.strerror}", False
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return done.stdout, f"ends its process with {how}", False


def _read(lines: Iterable[bytes], names: Iterable[EncoderName]) -> dict[EncoderName, PunktfunkError | None]:
    """Read what the process said of each encoder; a library's own lines on standard output are passed over."""
    told: dict[EncoderName, PunktfunkError | None] = {}
    for line in lines:
        try:
            name, code, cause, hint = json.loads(line)
        except (ValueError, TypeError):
            continue
        if name in set(names):
            told[EncoderName(name)] = (
                None if code is None else _ERRORS.get(code, CodecUnavailableError)(cause, hint)
            )
    return told


def main() -> None:
    """Open each encoder that is named, encode two pictures, and print a line of JSON about it."""
    import av

    from punktfunk.media.encoders import open_encoder
    from punktfunk.media.types import PIXEL_FORMAT, RawFrame

    # Nobody waits for a driver that hangs once whoever asked has ended.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for name in map(EncoderName, sys.argv[1:]):
        refusal: PunktfunkError | None = None
        try:
            encoder = open_encoder(EncoderConfig(encoder=name, mode=MODE))
            for number in range(2):
                picture = av.VideoFrame(MODE.width, MODE.height, PIXEL_FORMAT)
                encoder.encode(RawFrame(picture, number, 0))
            encoder.close()
        except PunktfunkError as error:
            refusal = error
        told = (None, "", "") if refusal is None else (refusal.code, refusal.cause, refusal.hint)
        print(json.dumps([name, *told]), flush=True)  # noqa: T201 - to the process that started this one
    # What drivers do at the end of a process is not what was asked about.
    os._exit(0)


if __name__ == "__main__":
    main()
