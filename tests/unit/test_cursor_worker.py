"""The pointer from a stream's worker: never waited for, never without its shape, and never beside a painted one."""

from __future__ import annotations

from typing import Any

import pytest

from punktfunk.cursor import CursorListener, CursorShape, CursorUpdate
from punktfunk.host.stream import messages, worker
from punktfunk.host.stream.worker import StreamProgram
from punktfunk.media import SyntheticSpec
from punktfunk.media.producer import SyntheticProducer
from tests.support.stream_spec import SPEC

SHAPE = CursorShape(1, 1, 0, 0, b"\1\2\3\4")


class Host:
    """The host's end of a worker; reads while ``reads`` is set."""

    def __init__(self) -> None:
        self.reads = True
        self.told: list[CursorUpdate] = []
        self.orders: list[messages.Order] = []

    def offer(self, message: messages.CursorTold) -> bool:
        if self.reads:
            self.told.append(message.update)
        return self.reads

    def poll(self) -> tuple[messages.Order, list[int]] | None:
        return (self.orders.pop(0), []) if self.orders else None


class Pointed(SyntheticProducer):
    """A producer that tells its pointer while somebody listens."""

    def __init__(self) -> None:
        super().__init__(SyntheticSpec(), SPEC.encoder.mode, SPEC.encoder.bitrate)
        self.listener: CursorListener | None = None

    def separate_cursor(self, listener: CursorListener | None) -> None:
        self.listener = listener

    def point(self, x: int, y: int, shape: CursorShape | None = None) -> None:
        assert self.listener is not None
        self.listener(CursorUpdate(True, x, y, shape))


class Sender:
    """A network on which all is well."""

    def take_recovery_request(self) -> bool:
        return False

    def take_refusals(self) -> None:
        return None


class Worker:
    """A worker that streams the pointer of ``producer`` to ``host``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.producer = Host(), Pointed()
        monkeypatch.setattr(worker, "open_worker_producer", lambda *_given: self.producer)
        end: Any = self.host
        self._program = StreamProgram(end, SPEC.model_copy(update={"separate_cursor": True}), ())

    def between_frames(self) -> None:
        sender: Any = Sender()
        self._program._between_frames(sender)


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def test_what_a_slow_host_was_not_told_of_the_pointer_it_is_told_with_the_next_movement(
    streaming: Worker,
) -> None:
    host, producer = streaming.host, streaming.producer
    producer.point(1, 1)
    host.reads = False
    producer.point(2, 2, SHAPE)
    producer.point(3, 3)
    streaming.between_frames()
    host.reads = True
    producer.point(4, 4)
    streaming.between_frames()
    assert host.told == [CursorUpdate(True, 1, 1), CursorUpdate(True, 4, 4, SHAPE)]


def test_a_pointer_that_rests_is_told_between_frames_once_the_host_reads_again(streaming: Worker) -> None:
    host = streaming.host
    host.reads = False
    streaming.producer.point(2, 2, SHAPE)
    streaming.between_frames()
    host.reads = True
    for _ in range(2):
        streaming.between_frames()
    assert host.told == [CursorUpdate(True, 2, 2, SHAPE)]


def test_a_pointer_that_is_painted_again_is_not_told_late(streaming: Worker) -> None:
    host = streaming.host
    host.reads = False
    streaming.producer.point(2, 2, SHAPE)
    host.orders.append(messages.UseCursor(False))
    host.reads = True
    streaming.between_frames()
    assert streaming.producer.listener is None, "the pictures have it"
    assert host.told == [], "a client would show it twice"
    host.orders.append(messages.UseCursor(True))
    streaming.between_frames()
    streaming.producer.point(5, 5)
    assert host.told == [CursorUpdate(True, 5, 5)]
