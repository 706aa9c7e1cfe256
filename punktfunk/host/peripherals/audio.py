"""The sound of a desktop: recorded and coded in a process of its own while somebody streams, sent by the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from punktfunk import log
from punktfunk.desktop.audio import SoundPlace
from punktfunk.errors import CapabilityError
from punktfunk.media.sound import DEFAULT_SOUND, SoundFormat
from punktfunk.process.worker_process import WorkerProcess

WORKER_MODULE = "punktfunk.host.peripherals.audio_worker"


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
    each Opus packet and the time at which it was made. Sound that fails is logged and left out until the next one
    begins to listen: a stream goes on without.
    """

    def __init__(
        self,
        place: Callable[[], SoundPlace | None],
        on_packet: Callable[[int, bytes], None],
        sound: SoundFormat = DEFAULT_SOUND,
    ) -> None:
        self._place = place
        self._sound = sound
        self._on_packet = on_packet
        self._worker: WorkerProcess | None = None
        self._log = log.get("host.sound")

    @property
    def recording(self) -> bool:
        """Whether a worker records, or is about to."""
        return self._worker is not None

    def begin(self) -> None:
        """Record, unless that is done already."""
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
        worker.send(Record(place, self._sound))

    def end(self) -> None:
        """Stop recording: nobody listens any more."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.stop()

    def _says(self, message: Notice) -> None:
        if self._worker is None:
            return
        match message:
            case Packet(encoded_ns, opus):
                self._on_packet(encoded_ns, bytes.fromhex(opus))
            case Failed(code, cause, hint):
                self._log.warning("no sound", code=code, cause=cause, hint=hint)

    def _gone(self, worker: WorkerProcess, status: int) -> None:
        if self._worker is worker:
            self._worker = None
            self._log.warning("sound recorder gone", status=status)
