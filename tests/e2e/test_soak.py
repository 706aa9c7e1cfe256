"""An hour of stream in seconds: what a worker holds does not depend on how many frames it has seen.

The workers are the real ones, each in a process that says what it holds (``metered_worker.py``); the other end of the
channel and of the data socket is this test's. What grows by two bytes a frame would be 432 kB an hour.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from punktfunk.client import messages as client_work
from punktfunk.core import FLAG_KEY, FLAG_PICTURE, HostStream, StreamConfig
from punktfunk.host.stream import messages as host_work
from punktfunk.media import EncoderConfig, SyntheticSpec, TestCardSpec, open_producer
from punktfunk.process.channel import Channel
from punktfunk.units import Bitrate, Mode
from tests.support.client_order import RECEIVE
from tests.support.stream_spec import SPEC, TRANSPORT

FRAMES, HOST_FRAMES = 25_000, 100_000
"""Frames between the two readings: 7 minutes and half an hour at 60 frames a second. Readings vary by some 10 kB."""
WARM_UP, HOST_WARM_UP = 10_000, 150_000
"""Frames before the first reading: what is kept for good is there by then. A kept row is 100 bytes and more."""
WINDOW_WARM_UP, WINDOW_FRAMES = 12_000, 16_000
RECORDED = 15_000
BYTES_A_FRAME, HOST_BYTES_A_FRAME = 2.0, 1.0
"""A kept number takes 8 and more, and what readings vary by is spread over fewer frames at the client."""
BYTES_A_REPORT = 40
"""What each may leave behind: a report a second, so 144 kB an hour. A busy machine has more of them to a frame."""
BYTES_A_PICTURE = 24.0
"""Over fewer, so that what is under way at one moment weighs more; a number that is kept weighs 100 and more."""
READINGS = 5
PATIENCE_S = 600.0
"""For what takes 10 s on an idle machine: these compute at low priority, a tenth of a CPU beside other programs."""
MODE = Mode(480, 64, 60)
"""The smallest picture with room for the frame marker, and some of the card."""
UNIT_FRAMES = 60
KEY, SALT = bytes(range(16)), b"soak"
UNDER_WAY = 400
"""Frames to the client's worker, whose queue holds 512."""
REPORT_MS = 50
"""Often enough to feed the worker by, and seldom enough that what reports leave weighs little."""
PROGRAM = Path(__file__).with_name("metered_worker.py")


class MeteredWorker:
    """A worker process, the last report that it sent, and what it holds."""

    def __init__(self, side: str, vocabulary: Any, log: Path, report_ms: int) -> None:
        self.messages: dict[str, Any] = {}
        self.reports = 0
        self._news = threading.Condition()
        ours, theirs = Channel.pair()
        self._meter, meter = socket.socketpair()
        self._answers = self._meter.makefile("r")
        self._log = log
        with theirs, meter, log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), side, "--channel", str(theirs.fileno())],
                pass_fds=[theirs.fileno(), meter.fileno()],
                env={
                    **os.environ,
                    "METER": str(meter.fileno()),
                    "PYTHONMALLOC": "malloc",
                    "REPORT_MS": str(report_ms),
                },
                stderr=errors,
            )
        self.channel = Channel(ours, vocabulary)
        threading.Thread(target=self._read, daemon=True).start()

    def held(self) -> int:
        """Bytes that it holds: the least of a few readings, what is under way at one moment left out."""
        readings = []
        for _ in range(READINGS):
            self._meter.sendall(b"?")
            readings.append(int(self._answers.readline()))
        return min(readings)

    def counter(self, name: str) -> int:
        """A counter of its last report."""
        report = self.messages.get("Progress")
        return 0 if report is None else int(report.counters[name])

    def until(self, kind: str, name: str = "", least: int = 0) -> None:
        """Wait for a message, or for one whose counter has reached ``least``."""

        def there() -> bool:
            return kind in self.messages and (not name or self.counter(name) >= least)

        with self._news:
            assert self._news.wait_for(lambda: there() or self.over, PATIENCE_S), f"no {kind} {name} {least}"
        assert there(), f"{self.messages} {self._log.read_text()}"

    @property
    def over(self) -> bool:
        return "Failed" in self.messages or "end" in self.messages

    def end(self) -> None:
        """Have it end, and free what is ours."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self._answers.close()
        self._meter.close()

    def _read(self) -> None:
        while (received := self.channel.receive()) is not None:
            with self._news:
                self.messages[type(received[0]).__name__] = received[0]
                self.reports += type(received[0]).__name__ == "Progress"
                self._news.notify_all()
        with self._news:
            self.messages["end"] = True
            self._news.notify_all()


@contextmanager
def worker(side: str, vocabulary: Any, folder: Path, report_ms: int = REPORT_MS) -> Iterator[MeteredWorker]:
    metered = MeteredWorker(side, vocabulary, folder / "log", report_ms)
    try:
        yield metered
    finally:
        metered.end()


@contextmanager
def data_path() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        one, two = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        one.connect(two.getsockname())
        two.connect(one.getsockname())
        yield one, two


def card_units() -> list[Any]:
    """A key frame of the test card and what follows it."""
    encoder = EncoderConfig(mode=MODE, bitrate=Bitrate(500_000), threads=1)
    producer = open_producer(TestCardSpec(), encoder)
    units = [producer.produce() for _ in range(UNIT_FRAMES)]
    producer.close()
    assert [unit.key for unit in units] == [True] + [False] * (UNIT_FRAMES - 1)
    return units


def receive_order() -> client_work.Receive:
    return replace(
        RECEIVE,
        key=KEY.hex(),
        salt=SALT.hex(),
        fec_percent=0,
        queue_frames=512,
        receive_buffer_bytes=1 << 22,
        mode=MODE,
        read_marker=True,
        record_frames=True,
    )


@dataclass
class Feed:
    """A host's stream to a client's worker, as fast as that decodes it."""

    receiver: MeteredWorker
    sender: HostStream
    units: list[Any]
    under_way: int
    sent: int = 0

    def decode(self, total: int) -> int:
        """Send until so many frames are decoded in all; return what the worker holds then."""
        while self.sent < total:
            self.receiver.until("Progress", "pictures", self.sent - self.under_way)
            unit = self.units[self.sent % UNIT_FRAMES]
            flags = FLAG_PICTURE | (FLAG_KEY if unit.key else 0)
            self.sender.submit(unit.data, time.monotonic_ns(), flags)
            self.sent += 1
        self.receiver.until("Progress", "pictures", total)
        return self.receiver.held()


@contextmanager
def fed_worker(
    folder: Path, under_way: int = UNDER_WAY, report_ms: int = REPORT_MS, **changes: Any
) -> Iterator[Feed]:
    with (
        data_path() as (host, client),
        worker("client", client_work.VOCABULARY, folder, report_ms) as receiver,
    ):
        receiver.channel.send(replace(receive_order(), **changes), [client.fileno()])
        receiver.until("Ready")
        config = StreamConfig(fec_percent=0, key=KEY, salt=SALT, max_block_shards=64)
        sender = HostStream(config, host.fileno(), rate_kbps=100_000, queue_frames=512, packets_per_ms=1000)
        try:
            yield Feed(receiver, sender, card_units(), under_way)
        finally:
            sender.close()


def test_a_client_worker_holds_nothing_of_the_frames_that_it_has_decoded(tmp_path: Path) -> None:
    with fed_worker(tmp_path) as feed:
        before, first = feed.decode(WARM_UP), feed.receiver.reports
        after, reports = feed.decode(WARM_UP + FRAMES), feed.receiver.reports - first
        grown = (after - before - reports * BYTES_A_REPORT) / FRAMES
        print(f"{grown:.3f} bytes a frame beside {reports} reports, {after - before} grown, {after} in all")
        read, unreadable = (feed.receiver.counter(f"strips_{name}") for name in ("read", "unreadable"))
        # So few bits may spoil the frame marker of one picture of the loop, by the times that happen to stand in it.
        assert read + unreadable == WARM_UP + FRAMES
        assert read >= 0.9 * (WARM_UP + FRAMES)
        assert grown <= BYTES_A_FRAME


def test_a_client_window_holds_nothing_of_the_frames_that_it_has_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: Callable[[str], None]
) -> None:
    if importlib.util.find_spec("sdl2") is None:
        lack("PySDL2 (pip install 'punktfunk[present]')")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    # Few under way: pictures that are overtaken before they could be shown say nothing here.
    with fed_worker(tmp_path, 4, 1, title="soak", read_marker=False) as feed:
        before = feed.decode(WINDOW_WARM_UP)
        first = feed.receiver.counter("pictures_presented")
        after = feed.decode(WINDOW_WARM_UP + WINDOW_FRAMES)
        shown = feed.receiver.counter("pictures_presented") - first
        grown = (after - before) / shown
        print(f"{grown:.3f} bytes a picture shown, {shown} shown, {after} in all")
        assert shown > WINDOW_FRAMES / 10
        assert grown <= BYTES_A_PICTURE


def test_a_recording_takes_its_rows_and_no_more(tmp_path: Path) -> None:
    with fed_worker(tmp_path, artefacts=str(tmp_path / "kept"), record_frames=True) as feed:
        before, after = feed.decode(RECORDED // 3), feed.decode(RECORDED)
        grown = (after - before) / (RECORDED - RECORDED // 3)
        print(f"{grown:.0f} bytes a recorded frame")
        # A record of 18 values and a row of 8, and what growing arrays keep in reserve.
        assert 18 * 8 + 8 * 8 <= grown <= 320
    rows = {}
    for name in ("records", "decoded"):
        with np.load(tmp_path / "kept" / f"{name}.npz") as columns:
            rows[name] = len(columns["index"])
    assert rows == {"records": RECORDED, "decoded": RECORDED}


def test_a_host_worker_holds_nothing_of_the_frames_that_it_has_sent(tmp_path: Path) -> None:
    encoder = EncoderConfig(mode=MODE, bitrate=Bitrate(500_000), threads=1)
    sealed = TRANSPORT.model_copy(update={"key": KEY.hex(), "salt": SALT.hex()})
    spec = SPEC.model_copy(
        update={
            "source": SyntheticSpec(frame_bytes=1000),
            "encoder": encoder,
            "transport": sealed.transport(),
            "rate_kbps": 100_000,
        }
    )
    with data_path() as (host, _client), worker("host", host_work.VOCABULARY, tmp_path) as sender:
        sender.channel.send(host_work.Prepare(spec.model_dump(mode="json")))
        sender.until("Ready")
        sender.channel.send(host_work.Begin(), [host.fileno()])
        sender.until("Progress", "frames_submitted", HOST_WARM_UP)
        before, first = sender.held(), sender.counter("frames_submitted")
        sender.until("Progress", "frames_submitted", first + HOST_FRAMES)
        after, last = sender.held(), sender.counter("frames_submitted")
        grown = (after - before) / (last - first)
        print(f"{grown:.3f} bytes a frame, {after} in all, {last - first} frames")
        assert grown <= HOST_BYTES_A_FRAME
