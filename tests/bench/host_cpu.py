"""What a host costs: idle, and a session beside capture, conversion, encoder and compositor; and two delays.

* **idle**: CPU time of ``punktfunk serve`` with its management server and its announcement, no client.
* **session**: CPU time of the host process and its stream worker while one client receives 720p60 at 20 Mbit/s.
  From the test card's sessions the worker's own time in ``produce`` (drawing, conversion and the encoder's part of
  that thread, counted by the worker) and the encoder's threads are taken off; synthetic sessions have neither, so
  that everything but making up the bytes counts. Thread times are the scheduler's (``/proc/PID/task/TID/schedstat``).
* **encode to wire**: encode_end to sent_first of the host's frame records.
* **input**: a client's send call to the key's arrival in a program of the host's headless desktop, which streams
  meanwhile. Injection happens before the program hears of it, so that the figure bounds tap to injected from above.

Prints figures, judges nothing; each is the median of repeats, kinds taken in turn.

    python tests/bench/host_cpu.py [--seconds 8] [--repeats 3] [--idle 20] [--taps 300]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import punktfunk
from punktfunk.clock import monotonic_ns
from punktfunk.input import InputEvent, InputKind
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode

_REPOSITORY = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
_MODE, _KBPS = "1280x720@60", 20_000
_SYNTHETIC_BYTES = _KBPS * 1000 // 8 // 60
_SEND_THREAD = "pf-send"
_WARM_UP_S = 2.0
_KEY_A = 0x41


@contextmanager
def _serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``punktfunk serve``; give its process and its native address."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "punktfunk",
                "serve",
                "--no-gamestream",
                "--open",
                "--bind",
                "127.0.0.1",
                "--native-port",
                "0",
            ),
            *("--mgmt-bind", "127.0.0.1:0", "--state-dir", str(folder / "state"), *options),
        ],
        cwd=_REPOSITORY,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = ""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("native host"):
                address = line.split()[2]
            if line.startswith("next"):
                break
        yield process, address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _threads(pid: int) -> dict[tuple[int, str], int]:
    """CPU time of each thread so far, ns, by its number and name."""
    spent = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            spent[int(task.name), name] = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return spent


def _spent(
    before: dict[tuple[int, str], int], after: dict[tuple[int, str], int]
) -> dict[tuple[int, str], int]:
    return {thread: ns - before.get(thread, 0) for thread, ns in after.items()}


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _idle(folder: Path, seconds: float) -> float:
    """CPU of an idle host, percent of a core."""
    with _serving(folder, "--source", "testcard") as (process, _):
        time.sleep(_WARM_UP_S)
        before, began = _threads(process.pid), monotonic_ns()
        time.sleep(seconds)
        spent = _spent(before, _threads(process.pid))
        return 100 * sum(spent.values()) / (monotonic_ns() - began)


def _session(folder: Path, source: str, seconds: float) -> dict[str, float]:
    """CPU of one session by part, percent of a core, and encode_end to sent_first in ms."""
    options = [
        "--mode",
        _MODE,
        "--codec",
        "h264",
        "--bitrate",
        f"{_KBPS} kbit/s",
        "--record",
        str(folder / "host"),
    ]
    if source == "synthetic":
        options += ["--frame-bytes", str(_SYNTHETIC_BYTES)]
    with _serving(folder, "--source", source, *options) as (host, address):
        config = folder / "client.json"
        config.write_text(json.dumps({"address": address, "trust": "loopback", "decode": False}))
        client = subprocess.Popen(
            [sys.executable, "-m", "punktfunk.client", "--config", str(config)],
            cwd=_REPOSITORY,
            env=_ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert client.stdout is not None
        client.stdout.readline()
        time.sleep(_WARM_UP_S)
        [worker] = _children(host.pid)
        before, began = (_threads(host.pid), _threads(worker)), monotonic_ns()
        time.sleep(seconds)
        took = monotonic_ns() - began
        control = _spent(before[0], _threads(host.pid))
        stream = _spent(before[1], _threads(worker))
        client.communicate(timeout=10)
    counters = json.loads((folder / "host" / "stats.json").read_text())["counters"]
    main = stream[worker, next(name for tid, name in stream if tid == worker)]
    send = sum(ns for (_, name), ns in stream.items() if name == _SEND_THREAD)
    encoder_threads = sum(stream.values()) - main - send
    frames = took * 60 / 1e9
    produce = min(main, counters["produce_cpu_ns"] / counters["frames_submitted"] * frames)
    if source == "synthetic":
        produce, main, encoder_threads = 0.0, main + encoder_threads, 0
    percent = {
        "host process": sum(control.values()),
        "worker, frame loop": main - produce,
        "worker, send thread": send,
    }
    parts = {name: 100 * ns / took for name, ns in percent.items()}
    parts["sum"] = sum(parts.values())
    parts["(capture, convert, encode)"] = 100 * (produce + encoder_threads) / took
    with np.load(folder / "host" / "records.npz") as records:
        sent = records["sent_first_ns"] > 0
        wait = (records["sent_first_ns"] - records["encode_end_ns"])[sent & (records["encode_end_ns"] > 0)]
    if wait.size:
        parts["p50"], parts["p99"] = (float(np.percentile(wait / 1e6, q)) for q in (50, 99))
    return parts


def _taps(folder: Path, count: int) -> dict[str, float]:
    """Tap to arrival in a program of the desktop, ms."""
    heard = folder / "heard"
    heard.touch()
    probe = _REPOSITORY / "tests" / "e2e" / "desktop" / "probe.py"
    script = folder / "probe.sh"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {probe} >{heard}\n")
    script.chmod(0o700)
    with _serving(folder, "--source", "desktop", "--app", str(script)) as (_, address):
        sent = asyncio.run(_tap(address, heard, count))
    arrived = [event["at_ns"] for event in _events(heard) if event["event"] == "keyboard_key"]
    if len(arrived) != len(sent):
        print(f"  (of {len(sent)} taps {len(arrived)} arrived)")
    delays = (np.array(arrived[: len(sent)]) - np.array(sent[: len(arrived)])) / 1e6
    return {"p50": float(np.percentile(delays, 50)), "p99": float(np.percentile(delays, 99))}


async def _tap(address: str, heard: Path, count: int) -> list[int]:
    rng = random.Random(count)
    config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=Mode(1280, 720, 60), decode=False)
    sent: list[int] = []
    async with punktfunk.Client(address, config) as client:
        async with asyncio.timeout(20):
            while not any(event["event"] == "keyboard_enter" for event in _events(heard)):
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        for number in range(count):
            kind = InputKind.KEY_UP if number % 2 else InputKind.KEY_DOWN
            sent.append(monotonic_ns())
            client.send(InputEvent(kind, _KEY_A))
            await asyncio.sleep(rng.uniform(0.015, 0.045))
        await asyncio.sleep(0.5)
    return sent


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def _median(rows: list[dict[str, float]], name: str) -> str:
    values = [row[name] for row in rows if name in row]
    if not values:
        return "        -"
    spread = f"({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.median(values):9.2f}  {spread}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--taps", type=int, default=300)
    given = parser.parse_args()
    sources = ("testcard", "synthetic")
    found: dict[str, list[dict[str, float]]] = {source: [] for source in (*sources, "taps", "idle")}
    desktop = shutil.which("sway") is not None and importlib.util.find_spec("pywayland") is not None
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(given.repeats):
            folder = Path(name) / str(repeat)
            for source in sources:
                found[source].append(_session(folder / source, source, given.seconds))
            if desktop and given.taps:
                (folder / "taps").mkdir()
                found["taps"].append(_taps(folder / "taps", given.taps))
            if given.idle:
                found["idle"].append({"cpu": _idle(folder / "idle", given.idle / given.repeats)})
    print(f"median of {given.repeats} (least to most); CPU in percent of one core, delays in ms")
    print(f"idle host{'':31} {_median(found['idle'], 'cpu')}")
    for source in sources:
        print(f"session, {source}, {_MODE}, {_KBPS // 1000} Mbit/s")
        for part in (
            "host process",
            "worker, frame loop",
            "worker, send thread",
            "sum",
            "(capture, convert, encode)",
        ):
            print(f"  {part:38} {_median(found[source], part)}")
    for q in ("p50", "p99"):
        print(f"encode_end to sent_first, {q}{'':12} {_median(found['testcard'], q)}")
    for q in ("p50", "p99"):
        print(f"tap to arrival in a program, {q}{'':9} {_median(found['taps'], q)}")


if __name__ == "__main__":
    main()
