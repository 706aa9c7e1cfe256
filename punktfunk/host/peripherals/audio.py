"""The sound of a desktop: recorded and coded in a process of its own while somebody streams, sent by the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from punktfunk import log
from punktfunk.desktop.audio import SoundPlace
from punktfunk.errors import CapabilityError
from punktfunk.media.sound import DEFAULT_SOUND, SoundFormat
from punktfunk.process.worker_process import WorkerProcess

WORKER_MODULE = "punktfunk.host.peripherals.audio_worker"
_PAUSE_S, _MOST_PAUSE_S = 1.0, 60.0
"""Before sound that has failed is tried again, at first and at last."""
_LASTED_S = 30.0
"""Sound that was recorded for so long begins with the first pause when it fails."""


@dataclass(frozen=True, slots=True)
class Record:
    """First message to the worker: record this, or nothing, and code it so."""

    place: SoundPlace | None
    sound: SoundFormat


@dataclass(frozen=True, slots=True)
class Packet:
    """Worker: a packet of the format, in hex, "" for silence; ``encoded_ns`` is CLOCK_MONOTONIC."""

    encoded_ns: int
    opus: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker: no sound (any more), and why."""

    code: str
    cause: str
    hint: str


Notice = Packet | Failed
"""What the worker says."""

VOCABULARY = (Record, Packet, Failed)


class AudioCapture:
    """Record sound of one format while somebody listens; belongs to one event loop.

    ``place`` says where, each time that it begins: a desktop that was opened again plays elsewhere. Where it is
    nowhere nothing is recorded, but of a format that is continuous: that is silence then. ``on_packet`` is called with
    each Opus packet and the time at which it was made, ``on_state`` with what is wrong ("" once it is recorded again).
    Sound that fails is left out, a stream goes on without; it is tried again after a second, and less and less often.
    """

    def __init__(
        self,
        place: Callable[[], SoundPlace | None],
        on_packet: Callable[[int, bytes], None],
        sound: SoundFormat = DEFAULT_SOUND,
        on_state: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._place = place
        self._on_state = on_state
        self._words = ""
        """What is wrong."""
        self._failed = False
        """Whether the worker that runs records nothing."""
        self._pause_s = _PAUSE_S
        self._begun_s = 0.0
        self._again: asyncio.TimerHandle | None = None
        self._sound = sound
        self._on_packet = on_packet
        self._worker: WorkerProcess | None = None
        self._log = log.get("host.sound")

    @property
    def recording(self) -> bool:
        """Whether a worker records, or is about to."""
        return self._worker is not None

    def begin(self) -> None:
        """Record, unless that is done already; what has failed is tried again at once."""
        if self._again is not None:
            self._try_again()
            return
        place = self._place()
        if self._worker is not None or (place is None and not self._sound.continuous):
            return
        try:
            worker = WorkerProcess(
                WORKER_MODULE, VOCABULARY, self._says, lambda status: self._gone(worker, status)
            )
        except CapabilityError as error:
            self._log.warning("no sound", cause=error.cause, hint=error.hint)
            return
        self._worker = worker
        self._failed = False
        self._begun_s = asyncio.get_running_loop().time()
        worker.send(Record(place, self._sound))

    def end(self) -> None:
        """Stop recording: nobody listens any more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._words = ""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.stop()

    def _says(self, message: Notice) -> None:
        if self._worker is None:
            return
        match message:
            case Packet(encoded_ns, opus):
                if self._words and not self._failed:
                    self._say("")
                self._on_packet(encoded_ns, bytes.fromhex(opus))
            case Failed(code, cause, hint):
                if cause != self._words:
                    self._log.warning("no sound", code=code, cause=cause, hint=hint)
                self._say(cause)
                self._later()

    def _gone(self, worker: WorkerProcess, status: int) -> None:
        if self._worker is worker:
            self._worker = None
            if not self._failed:
                self._log.warning("sound recorder gone", status=status)
                self._say("the recorder has ended")
            self._later()

    def _say(self, words: str) -> None:
        self._failed = bool(words)
        if words != self._words:
            self._words = words
            self._on_state(words)
            if not words:
                self._log.info("sound again")

    def _later(self) -> None:
        """Try again after a pause, which grows for as long as that fails."""
        loop = asyncio.get_running_loop()
        if self._again is not None:
            return
        if loop.time() - self._begun_s > _LASTED_S:
            self._pause_s = _PAUSE_S
        self._again = loop.call_later(self._pause_s, self._try_again)
        self._pause_s = min(2 * self._pause_s, _MOST_PAUSE_S)

    def _try_again(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
        self.begin()
