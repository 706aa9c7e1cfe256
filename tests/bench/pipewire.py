"""Time what a picture from PipeWire costs on our side: callback and conversion, and its age when it can be encoded.

A producer in a process of its own gives pictures to a server of its own. CPU time is that of PipeWire's thread in the
callback, of the capturing thread, and of the whole process with the conversion's own threads. The yardstick is one copy
of the picture, which a consumer pays that does not convert where the picture lies. Prints figures, judges nothing.

    python tests/bench/pipewire.py [--seconds 5] [--hz 60] [--rows 40] [--encode] [--unsealed]
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from punktfunk.desktop.capture import PipeWireScreen, open_capture
from punktfunk.desktop.capture.pipewire import PipeWireCapture
from punktfunk.media import EncoderConfig, open_encoder
from punktfunk.units import Bitrate, Mode
from tests.support.pipewire_producer import DAMAGE, Producer, Server

_SIZES = ((1280, 720), (1920, 1080), (2560, 1440))
_WARM_UP = 30


def _produce(remote: str, width: int, height: int, hz: int, rows: int, *, sealed: bool) -> None:
    """Give pictures until the end of input; the node's number goes to the output."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    texture = np.random.default_rng(1).integers(0, 256, (height, width, 4), np.uint8)
    with Producer(remote, width=width, height=height, sealed=sealed) as producer:
        print(json.dumps(producer.node), flush=True)
        damage = struct.pack("=iiII", 0, 0, width, rows)
        due, number = time.monotonic(), 0
        while not over.is_set():
            due = max(due + 1 / hz, time.monotonic())
            over.wait(due - time.monotonic())
            if producer.is_wanted:
                number += 1
                producer.give(texture, sequence=number, metas={DAMAGE: damage})


def _percentiles(nanoseconds: list[int]) -> str:
    middle, high = np.percentile(nanoseconds, [50, 95]) / 1e6
    return f"{middle:8.3f} {high:8.3f}"


def _measure(server: Server, width: int, height: int, options: argparse.Namespace) -> None:
    hz, seconds, rows = options.hz, options.seconds, options.rows or height
    command = [sys.executable, __file__, "--produce", server.remote, f"{width}x{height}", str(hz), str(rows)]
    command += ["--unsealed"] if options.unsealed else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as producer:
        assert producer.stdin is not None
        assert producer.stdout is not None
        mode = Mode(width, height, hz)
        screen = PipeWireScreen(node=json.loads(producer.stdout.readline()), remote=server.remote)
        capture = open_capture(screen, mode)
        assert isinstance(capture, PipeWireCapture)
        encoder = (
            open_encoder(EncoderConfig(mode=mode, bitrate=Bitrate(10_000_000))) if options.encode else None
        )
        callbacks: list[int] = []
        received = capture._stream._received

        def timed(handle: int) -> None:
            began = time.thread_time_ns()
            received(handle)
            callbacks.append(time.thread_time_ns() - began)

        capture._stream._received = timed  # type: ignore[method-assign]  # to time it where it runs
        for _ in range(_WARM_UP):
            capture.capture()
        callbacks.clear()
        ages, own, began, cpu = [], [], time.monotonic(), time.process_time_ns()
        while time.monotonic() - began < seconds:
            before = time.thread_time_ns()
            frame = capture.capture()
            own.append(time.thread_time_ns() - before)
            ages.append(frame.converted_ns - frame.captured_ns)
            if encoder is not None:
                encoder.encode(frame, key=False)
        whole = (time.process_time_ns() - cpu) / 1e9 / (time.monotonic() - began)
        capture.close()
        producer.kill()
    copy = np.empty((height, width, 4), np.uint8)
    texture = np.zeros_like(copy)
    copies = []
    for _ in range(60):
        before = time.thread_time_ns()
        copy[...] = texture
        copies.append(time.thread_time_ns() - before)
    fps = len(ages) / seconds
    print(
        f"{width}x{height:<6}{fps:6.1f} {_percentiles(ages)} {_percentiles(callbacks)} {_percentiles(own)}"
        f" {_percentiles(copies)} {whole * 100:7.1f}",
        flush=True,
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--hz", type=int, default=60)
    parser.add_argument("--encode", action="store_true", help="encode each picture too, as a stream does")
    parser.add_argument("--rows", type=int, default=0, help="how many have changed in each picture; 0: all")
    parser.add_argument(
        "--unsealed", action="store_true", help="memory that its producer could shorten, which is copied"
    )
    parser.add_argument("--produce", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        remote, size, hz, rows = options.produce
        width, height = map(int, size.split("x"))
        _produce(remote, width, height, int(hz), int(rows), sealed=not options.unsealed)
        return
    print(
        "ms p50 and p95             stamp→converted  callback (CPU)   capture() (CPU)  one copy (CPU)     % CPU"
    )
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            for width, height in _SIZES:
                _measure(server, width, height, options)
        finally:
            server.close()


if __name__ == "__main__":
    main()
