"""Another mode in mid-stream: its source and encoder are built beside the ones that stream."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

from punktfunk.errors import PunktfunkError
from punktfunk.host.stream.sources import WorkerSource, open_worker_producer
from punktfunk.media import EncoderConfig, Producer


@dataclass(frozen=True, slots=True)
class Built:
    """A mode that is ready, or (without a producer) one that is unavailable."""

    source: WorkerSource
    encoder: EncoderConfig
    producer: Producer | None
    error: PunktfunkError | None = None
    """Why it cannot."""


class NextMode:
    """Build one mode at a time in a thread of its own; opening an encoder holds no lock of the interpreter."""

    def __init__(self) -> None:
        self._done: queue.SimpleQueue[Built] = queue.SimpleQueue()
        self._building = False

    def build(
        self,
        source: WorkerSource,
        encoder: EncoderConfig,
        connection: int | None = None,
        *,
        with_picture: bool = False,
    ) -> bool:
        """Begin to build; ``False`` while another mode is being built.

        ``connection`` is what the source is reached by, if it came with the order; it is taken where this returns true.
        ``with_picture`` has it ready with its first picture and no sooner: a source without any is unavailable.
        """
        if self._building:
            return False
        self._building = True
        threading.Thread(
            target=self._open, args=(source, encoder, connection, with_picture), name="next-mode", daemon=True
        ).start()
        return True

    def take(self) -> Built | None:
        """Return what was asked for once it is known, ``None`` before."""
        try:
            built = self._done.get_nowait()
        except queue.Empty:
            return None
        self._building = False
        return built

    def discard(self, producer: Producer) -> None:
        """Free a producer that streams no longer, off the frame path."""
        threading.Thread(target=producer.close, name="old-mode", daemon=True).start()

    def _open(
        self, source: WorkerSource, encoder: EncoderConfig, connection: int | None, with_picture: bool
    ) -> None:
        try:
            producer = open_worker_producer(source, encoder, connection)
            if with_picture:
                _begin(producer)
        except PunktfunkError as error:
            self._done.put(Built(source, encoder, None, error))
        else:
            self._done.put(Built(source, encoder, producer))


def _begin(producer: Producer) -> None:
    try:
        producer.begin()
    except BaseException:
        producer.close()
        raise
