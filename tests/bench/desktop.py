"""Time a real desktop's path: headless sway, test card client, capture, encoder, core over loopback, decoder, input.

The yardsticks beside it are what the compositor itself is asked for (its frame timer) and a round trip to it,
the least that any request can take. Prints figures, judges nothing.

    python tests/bench/desktop.py [--seconds 20] [--mode 1280x720@60] [--bitrate "10 Mbit/s"]
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from punktfunk.clock import monotonic_ns
from punktfunk.core import FLAG_KEY, FLAG_PICTURE, ClientStream, HostStream, ReceivedFrame, StreamConfig
from punktfunk.desktop.capture import WlrScreen, open_capture
from punktfunk.desktop.session import DesktopSession
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.desktop.wayland import connect
from punktfunk.input import InputEvent, InputKind, SurfaceSize
from punktfunk.media import AccessUnit, EncoderConfig, frame_marker
from punktfunk.media.decoders import open_decoder
from punktfunk.media.encoders import open_encoder
from punktfunk.media.producer import VideoProducer
from punktfunk.units import Bitrate, Mode

_REPOSITORY = Path(__file__).parents[2]
_TAPS = 300


def _row(what: str, milliseconds: NDArray[np.float64] | list[float], note: str = "") -> None:
    low, middle, high, most = np.percentile(milliseconds, [5, 50, 95, 99])
    print(f"{what:34} {low:9.2f} {middle:9.2f} {high:9.2f} {most:9.2f}   {note}", flush=True)


def _cpu_seconds(runtime: str) -> dict[str, float]:
    """CPU time so far of the session's processes, by the name of their program."""
    spent: dict[str, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if runtime.encode() not in (entry / "environ").read_bytes():
                    continue
                command = (entry / "cmdline").read_bytes().split(b"\0")
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            name = "test card" if b"punktfunk.desktop.testcard" in command else Path(command[0].decode()).name
            ticks = int(fields[11]) + int(fields[12])
            spent[name] = spent.get(name, 0.0) + ticks / os.sysconf("SC_CLK_TCK")
    return spent


def _path(
    session: DesktopSession, output: VirtualOutput, mode: Mode, bitrate: Bitrate, seconds: float
) -> None:
    session.launch([sys.executable, "-m", "punktfunk.desktop.testcard"], cwd=_REPOSITORY)
    capture = open_capture(WlrScreen(display=session.socket, output=output.name), mode)
    producer = VideoProducer(capture, open_encoder(EncoderConfig(mode=mode, bitrate=bitrate)))
    decoder = open_decoder(producer.codec)
    while frame_marker.read(capture.capture().luma) is None:
        pass
    producer.request_key()
    link = _Loopback()
    before, cpu_before, own_before = (
        producer.counters,
        _cpu_seconds(_runtime(session)),
        time.process_time(),
    )
    rows: list[tuple[int, ...]] = []
    unreadable = sent = lost = 0
    began = monotonic_ns()
    while monotonic_ns() - began < seconds * 1e9:
        unit = producer.produce()
        sent += 1
        received = link.carry(unit)
        if received is None:
            lost += 1
            continue
        decoded = decoder.decode(bytes(received))
        reading = frame_marker.read(decoded.luma) if decoded is not None else None
        if decoded is None or reading is None:
            unreadable += 1
            continue
        stamps = unit.stamps
        rows.append(
            (
                reading.frame,
                reading.time_us * 1000,
                stamps.captured_ns,
                stamps.converted_ns,
                stamps.encode_begin_ns,
                stamps.encode_end_ns,
                received.complete_ns,
                decoded.decode_end_ns,
            )
        )
    elapsed = (monotonic_ns() - began) / 1e9
    own = time.process_time() - own_before
    cpu_after, after = _cpu_seconds(_runtime(session)), producer.counters
    producer.close()
    decoder.close()
    link.close()
    table = np.array(rows, np.int64)
    drawn, captured, converted, begin, end, complete, decoded_end = (
        table[:, column] for column in range(1, 8)
    )
    delta = {name: after[name] - before[name] for name in after}
    drawn_frames = int(table[-1, 0] - table[0, 0])
    print(
        f"captured {delta['captured'] / elapsed:.1f} a second ({delta}), drawn {drawn_frames / elapsed:.1f} a second, "
        f"of {sent} access units lost {lost}, unreadable {unreadable}",
        flush=True,
    )
    _row("draw to captured", (captured - drawn) / 1e6)
    _row("captured to converted", (converted - captured) / 1e6, "waiting for the copy included")
    _row("encode", (end - begin) / 1e6)
    _row("captured to encode end", (end - captured) / 1e6)
    _row("encode end to complete", (complete - end) / 1e6, "packets, FEC 20 %, AES, UDP on loopback")
    _row("captured to complete", (complete - captured) / 1e6)
    _row("captured to decode end", (decoded_end - captured) / 1e6)
    _row("draw to decode end", (decoded_end - drawn) / 1e6, "by the frame marker")
    _row("interval of captures", np.diff(captured) / 1e6, f"sd {np.diff(captured).std() / 1e6:.2f}")
    used = {name: round((cpu_after[name] - cpu_before.get(name, 0.0)) / elapsed * 100) for name in cpu_after}
    print(
        f"CPU, % of a core: {used}, capture to decode in this process {own / elapsed * 100:.0f}", flush=True
    )


class _Loopback:
    """A host stream and a client stream of the core, joined on loopback."""

    def __init__(self) -> None:
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        sender, receiver = self._sockets
        for each in self._sockets:
            each.bind(("127.0.0.1", 0))
        sender.connect(receiver.getsockname())
        receiver.connect(sender.getsockname())
        config = StreamConfig(key=secrets.token_bytes(16), shard_bytes=1408)
        self._client = ClientStream(config, receiver.fileno())
        self._host = HostStream(config, sender.fileno(), rate_kbps=100_000)

    def carry(self, unit: AccessUnit) -> ReceivedFrame | None:
        """Send an access unit and wait for it."""
        self._host.submit(unit.data, unit.pts_ns, FLAG_PICTURE | (FLAG_KEY if unit.key else 0))
        return self._client.next_frame(1.0)

    def close(self) -> None:
        """End both streams."""
        self._host.close()
        self._client.close()
        for each in self._sockets:
            each.close()


def _runtime(session: DesktopSession) -> str:
    return str(Path(session.socket).parent)


class _Listener(threading.Thread):
    """A client with a window that notes when keys and movements reach it."""

    def __init__(self, display: str) -> None:
        super().__init__(daemon=True)
        self.arrived: list[tuple[str, int]] = []
        self.ready = threading.Event()
        self.stopping = False
        self._display = display

    def run(self) -> None:
        from punktfunk.desktop.wayland.window import Window

        with connect(self._display) as connection:
            window = Window(connection, "bench")
            seat = connection.bind("wl_seat", 5)
            keyboard, pointer = seat.get_keyboard(), seat.get_pointer()
            keyboard.dispatcher["key"] = lambda *_: self.arrived.append(("key", monotonic_ns()))
            pointer.dispatcher["motion"] = lambda *_: self.arrived.append(("motion", monotonic_ns()))
            shown = window.begin()
            if shown is not None:
                window.show(shown[0])
            connection.round_trip()
            self.ready.set()
            while not self.stopping:
                connection.dispatch(0.1)


def _input(session: DesktopSession) -> None:
    listener = _Listener(session.socket)
    listener.start()
    listener.ready.wait(10)
    time.sleep(0.5)
    taken: dict[str, list[float]] = {"key": [], "motion": []}
    area = SurfaceSize(1000, 1000)
    for number in range(_TAPS):
        events: list[tuple[str, InputEvent]] = [
            ("key", InputEvent(InputKind.KEY_DOWN if number % 2 == 0 else InputKind.KEY_UP, ord("A"))),
            ("motion", InputEvent(InputKind.MOUSE_ABSOLUTE, x=number % 500 + 1, y=500, surface=area)),
        ]
        for kind, event in events:
            seen = len(listener.arrived)
            sent = monotonic_ns()
            session.inject(event)
            while len(listener.arrived) == seen and monotonic_ns() - sent < 1e9:
                time.sleep(0.0002)
            if len(listener.arrived) > seen and listener.arrived[seen][0] == kind:
                taken[kind].append((listener.arrived[seen][1] - sent) / 1e6)
    session.release_all()
    listener.stopping = True
    listener.join()
    for kind, values in taken.items():
        _row(f"inject to client, {kind}", values, f"{len(values)} of {_TAPS} arrived")


def _round_trips(display: str) -> list[float]:
    with connect(display) as connection:
        taken = []
        for _ in range(200):
            begin = time.perf_counter_ns()
            connection.round_trip()
            taken.append((time.perf_counter_ns() - begin) / 1e6)
    return taken


def _timed(call: Any) -> tuple[float, Any]:
    begin = time.perf_counter_ns()
    made = call()
    return (time.perf_counter_ns() - begin) / 1e6, made


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description="Time a real desktop's path.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mode", type=Mode.parse, default=Mode(1280, 720, 60))
    parser.add_argument("--bitrate", type=Bitrate.parse, default=Bitrate(10_000_000))
    given = parser.parse_args()
    opened_ms, session = _timed(DesktopSession)
    try:
        made_ms, output = _timed(lambda: session.create(given.mode))
        changed_ms, _ = _timed(lambda: session.change(output, given.mode))
        load = os.getloadavg()[0]
        print(
            f"{given.mode}, {given.bitrate}, {os.cpu_count()} cores, load {load:.1f}; milliseconds\n"
            f"session opened {opened_ms:.0f}, output made {made_ms:.1f}, mode changed {changed_ms:.1f}"
        )
        print(f"{'':34} {'p5':>9} {'p50':>9} {'p95':>9} {'p99':>9}")
        _row("round trip to sway (yardstick)", _round_trips(session.socket))
        _input(session)
        _path(session, output, given.mode, given.bitrate, given.seconds)
    finally:
        closed_ms, _ = _timed(session.close)
        print(f"session closed in {closed_ms:.0f}")


if __name__ == "__main__":
    main()
