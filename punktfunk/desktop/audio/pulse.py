"""Recording by PulseAudio's simple API, which PipeWire answers too, from a sink's monitor.

Bound with ctypes: the library comes with every PulseAudio or PipeWire desktop, its interface has not changed
since 2007, and a call releases the interpreter's lock while it waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable
from ctypes import CDLL, POINTER, byref, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from functools import cache
from queue import Empty, SimpleQueue
from typing import Final, Self

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.audio import CHUNK_SAMPLES, SAMPLE_RATE, AudioChunk
from punktfunk.errors import CapabilityError, DesktopError

_LIBRARY: Final = "libpulse-simple.so.0"
_RECORD: Final = 2
_FLOAT32LE: Final = 5
_UNSET: Final = 0xFFFFFFFF
_BYTES_PER_SAMPLE: Final = 4
_BACKLOG_CHUNKS: Final = 8
"""What a reader that fell behind may find waiting, 40 ms; older sound is dropped by the server."""
_ANSWER_LIMIT_S: Final = 4.0
_TRIES: Final = 4
_POSITIONS: Final = {
    1: (0,),
    2: (1, 2),
    # Front left and right, centre, LFE, rear left and right, side left and right, as pa_channel_position counts.
    6: (1, 2, 3, 7, 5, 6),
    8: (1, 2, 3, 7, 5, 6, 10, 11),
}
"""What each channel is. The server mixes what is played for other speakers."""
_MAX_POSITIONS: Final = 32


class _SampleSpec(ctypes.Structure):
    _fields_ = [("format", c_int), ("rate", c_uint32), ("channels", c_uint8)]


class _ChannelMap(ctypes.Structure):
    _fields_ = [("channels", c_uint8), ("map", c_int * _MAX_POSITIONS)]


class _BufferAttr(ctypes.Structure):
    _fields_ = [(name, c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")]


class PulseCapture:
    """Records ``source`` of the server at ``server``, or its default ones; channels FL FR C LFE RL RR SL SR.

    Raises CapabilityError without the library and DesktopError where the server refuses or does not answer.
    PipeWire takes its default source for a name that it does not know.
    """

    def __init__(self, server: str | None = None, source: str | None = None, *, channels: int = 2) -> None:
        if channels not in _POSITIONS:
            raise CapabilityError(f"{channels} channels are not captured", "use 1, 2, 6 or 8")
        self._library = _load()
        self.channels = channels
        self._chunk_bytes = CHUNK_SAMPLES * channels * _BYTES_PER_SAMPLE
        spec = _SampleSpec(_FLOAT32LE, SAMPLE_RATE, channels)
        positions = _ChannelMap(channels, (c_int * _MAX_POSITIONS)(*_POSITIONS[channels]))
        buffering = _BufferAttr(
            _BACKLOG_CHUNKS * self._chunk_bytes, _UNSET, _UNSET, _UNSET, self._chunk_bytes
        )

        def ask() -> tuple[int | None, str]:
            error = c_int(0)
            handle: int | None = self._library.pa_simple_new(
                server.encode() if server else None,
                b"punktfunk",
                _RECORD,
                source.encode() if source else None,
                b"capture",
                byref(spec),
                byref(positions),
                byref(buffering),
                byref(error),
            )
            return handle, "" if handle else self._reason(error)

        self._handle, reason = _first_answer(ask, self._library.pa_simple_free)
        if self._handle is None:
            raise DesktopError(
                f"the sound server gives no recording of {source or 'its default source'}: {reason}",
                "is PipeWire or PulseAudio running for this user?",
            )

    def read(self) -> AudioChunk:
        """Wait for the next 5 ms; see :class:`punktfunk.desktop.audio.AudioCapture`."""
        if self._handle is None:
            raise DesktopError("the recording is closed")
        # Here and not above: the host's control process asks whether there is a library, and reads no sample.
        import numpy as np

        samples = np.empty((CHUNK_SAMPLES, self.channels), np.float32)
        error = c_int(0)
        if self._library.pa_simple_read(self._handle, samples.ctypes.data, self._chunk_bytes, byref(error)):
            raise DesktopError(f"the sound server is gone: {self._reason(error)}")
        # The server's own figure (pa_simple_get_latency) is not added: on PipeWire 0.3.65 it was seen to grow to
        # 200 ms under load while sound written at a known time was still read 21 ms later.
        return AudioChunk(samples, monotonic_ns() - CHUNK_SAMPLES * 1_000_000_000 // SAMPLE_RATE)

    def close(self) -> None:
        """Stop recording."""
        if self._handle is not None:
            self._library.pa_simple_free(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reason(self, error: c_int) -> str:
        text = self._library.pa_strerror(error.value)
        return text.decode() if text else f"error {error.value}"


def _first_answer(
    ask: Callable[[], tuple[int | None, str]], free: Callable[[int], object]
) -> tuple[int | None, str]:
    """Return the first recording that is given, or why there is none; ask again where no answer comes.

    PipeWire 0.3.65 forgets some of those that are asked for while its session manager starts, and libpulse would wait
    for half a minute. What is given too late is freed.
    """
    answers: SimpleQueue[tuple[int | None, str]] = SimpleQueue()
    guard = threading.Lock()
    over = False

    def in_thread() -> None:
        answer = ask()
        with guard:
            if not over:
                answers.put(answer)
            elif answer[0] is not None:
                free(answer[0])

    answer: tuple[int | None, str] = None, "no answer"
    for _ in range(_TRIES):
        threading.Thread(target=in_thread, name="pulse", daemon=True).start()
        with contextlib.suppress(Empty):
            answer = answers.get(timeout=_ANSWER_LIMIT_S)
            break
    with guard:
        over = True
        while not answers.empty():
            late, _ = answers.get()
            if late is not None:
                free(late)
    return answer


def require_pulse() -> None:
    """Raise CapabilityError unless PulseAudio's library can be loaded."""
    _load()


@cache
def _load() -> CDLL:
    try:
        library = CDLL(_LIBRARY)
    except OSError as error:
        raise CapabilityError(f"{_LIBRARY} cannot be loaded: {error}", "apt-get install libpulse0") from error
    library.pa_simple_new.restype = c_void_p
    library.pa_simple_new.argtypes = [
        c_char_p,
        c_char_p,
        c_int,
        c_char_p,
        c_char_p,
        POINTER(_SampleSpec),
        POINTER(_ChannelMap),
        POINTER(_BufferAttr),
        POINTER(c_int),
    ]
    library.pa_simple_read.restype = c_int
    library.pa_simple_read.argtypes = [c_void_p, c_void_p, c_size_t, POINTER(c_int)]
    library.pa_simple_free.restype = None
    library.pa_simple_free.argtypes = [c_void_p]
    library.pa_strerror.restype = c_char_p
    library.pa_strerror.argtypes = [c_int]
    return library
