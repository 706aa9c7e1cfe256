"""Watch the four processes of a stream for what they keep: memory, descriptors, threads, hour after hour.

* **stream**: one session of a headless desktop with sound (the test card and a tone; the test card alone where the
  machine has no desktop), a client that decodes and sends pointer and key events. Anonymous resident memory
  (``RssAnon``), open descriptors and threads of the host, its stream worker, the client and its worker are read every
  two seconds.
* **sessions**: one host and one client process, session after session of a second each; memory of host and client after
  each.

A slope is that of a straight line through the medians of blocks of readings: neighbouring readings are alike, the
medians of long blocks nearly independent, so that the usual 95 % interval of their slope holds. What was read in the
first five minutes (the first fifth of a shorter run; the first 150 sessions) is left out. The promise is an upper
bound of at most 4 MB an hour for each process of a stream, and 2 kB a session (docs/promises.md, P22).

Prints as it goes, and what it has when interrupted; judges nothing.

    python tests/bench/soak.py [--minutes 40] [--mode 640x360@60] [--sessions 500]      0 leaves a part out
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import punktfunk
from punktfunk.client import input as make
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Mode

_REPOSITORY = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
_READ_EVERY_S = 2.0
_TOLD_EVERY_S = 60.0
_WORKER_LIMIT_S = 30.0
_SETTLING_S, _SETTLING_SHARE, _SETTLING_SESSIONS = 300.0, 0.2, 150
_BLOCKS = 12
_INPUT_EVERY_S = 0.01
_SAMPLE_RATE = 48_000
_HOUR = 3600.0
_TOLD_COUNTERS = ("frames_complete", "frames_unrecoverable", "pictures", "sound_packets", "sound_lost")


@dataclass(slots=True)
class Watched:
    """One process and its readings: seconds, kB of anonymous memory, descriptors, threads."""

    name: str
    pid: int
    readings: list[tuple[float, int, int, int]] = field(default_factory=list)

    def read(self, at: float) -> None:
        """Take one reading; raises ``ProcessLookupError`` when the process is gone."""
        folder = Path("/proc", str(self.pid))
        try:
            status = (folder / "status").read_text()
            descriptors = sum(1 for _ in (folder / "fd").iterdir())
        except FileNotFoundError as error:
            raise ProcessLookupError(f"{self.name} has ended") from error
        values = dict(re.findall(r"(\w+):\s+(\d+)", status))
        if "RssAnon" not in values:
            raise ProcessLookupError(f"{self.name} has ended")
        self.readings.append((at, int(values["RssAnon"]), descriptors, int(values["Threads"])))


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return slope and 95 % interval of a line through block medians; None for too few readings."""
    if len(x) < 3 * _BLOCKS:
        return None
    pairs = [
        (np.median(a), np.median(b))
        for a, b in zip(np.array_split(x, _BLOCKS), np.array_split(y, _BLOCKS), strict=True)
    ]
    fit = stats.linregress(*np.array(pairs).T)
    margin = float(stats.t.ppf(0.975, _BLOCKS - 2)) * float(fit.stderr)
    return float(fit.slope), float(fit.slope) - margin, float(fit.slope) + margin


@contextmanager
def _serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``punktfunk serve``; give its process and its native address."""
    command = [sys.executable, "-m", "punktfunk", "serve", "--no-gamestream", "--open", "--no-mdns"]
    command += ["--bind", "127.0.0.1"]
    command += ["--native-port", "0", "--mgmt-bind", "127.0.0.1:0", "--state-dir", str(folder / "state")]
    process = subprocess.Popen(
        [*command, *options], cwd=_REPOSITORY, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        banner = ""
        for line in process.stdout:
            banner += line
            if line.startswith("next"):
                break
        found = re.search(r"native host\s+(\S+?),? ", banner)
        if found is None:
            raise SystemExit(f"punktfunk serve did not come up: {banner}")
        yield process, found[1]
    finally:
        _end(process)
        process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _child(pid: int, module: str) -> int | None:
    """Return the youngest child of a process that runs this module."""
    children = [
        int(child)
        for task in Path("/proc", str(pid), "task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    for child in sorted(children, reverse=True):
        with contextlib.suppress(OSError):
            if module in Path("/proc", str(child), "cmdline").read_text():
                return child
    return None


def _desktop(folder: Path) -> list[str]:
    """Return the options that serve a desktop with the test card and a tone, or the test card where there is none."""
    if any(shutil.which(program) is None for program in ("sway", "pipewire", "paplay")):
        print("no sway, pipewire and paplay here: the test card, without sound", flush=True)
        return ["--source", "testcard"]
    tone = folder / "tone.wav"
    samples = 0.3 * np.sin(2 * np.pi * 440 * np.arange(_SAMPLE_RATE * 30) / _SAMPLE_RATE)
    with wave.open(str(tone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_SAMPLE_RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    card = shlex.join([sys.executable, "-m", "punktfunk.desktop.testcard"])
    script = f"while :; do paplay {shlex.quote(str(tone))} || sleep 1; done & exec {card}"
    return ["--source", "desktop", "--app", shlex.join(["sh", "-c", script])]


async def _stream(address: str, mode: Mode) -> None:
    """Be the client of a soak: decode what comes, send input; tell of the worker, end with the input's end."""
    config = punktfunk.ClientConfig(
        trust=OpenTrust.LOOPBACK, mode=mode, codecs=[punktfunk.media.Codec.H264], record_frames=False
    )
    async with punktfunk.Client(address, config) as client:
        print("worker", client.worker_pid, flush=True)
        finished = asyncio.create_task(client.finished())
        leave = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), leave.set)
        for number in itertools.count():
            if leave.is_set() or finished.done():
                break
            client.send(make.move_to(number % mode.width, number % mode.height, mode.width, mode.height))
            if number % 50 == 0:
                for event in make.text("soak "):
                    client.send(event)
            await asyncio.sleep(_INPUT_EVERY_S)
        client.stop()
        summary = await finished
        print(
            "end",
            summary.reason,
            *(f"{name}={summary.counters.get(name, 'unknown')}" for name in _TOLD_COUNTERS),
            flush=True,
        )


async def _sessions(address: str, count: int) -> None:
    """Be the client of many sessions, each ended by the host after its frames; tell of each that is over."""
    config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, decode=False, record_frames=False)
    for number in range(count):
        async with punktfunk.Client(address, config) as client:
            summary = await client.finished()
        print("session", number + 1, summary.counters["frames_complete"], flush=True)


@contextmanager
def _client(what: str, address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--client", what, address, *arguments]
    process = subprocess.Popen(
        command,
        cwd=_REPOSITORY,
        env=_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            _end(process)
        process.stdout.close()


def _tell_stream(watched: list[Watched], settling_s: float) -> None:
    print(f"  {'process':14} {'kB now':>8} {'kB/h':>9} {'95 % interval':>21} {'fds':>9} {'threads':>9}")
    for process in watched:
        rows = np.array([row for row in process.readings if row[0] >= settling_s], dtype=np.float64)
        if not len(rows):
            continue
        line = f"  {process.name:14} {int(rows[-1, 1]):8}"
        found = slope(rows[:, 0] / _HOUR, rows[:, 1])
        line += (
            f" {'too few readings':>31}"
            if found is None
            else f" {found[0]:9.0f} {found[1]:10.0f} {found[2]:10.0f}"
        )
        for column in (2, 3):
            low, high = int(rows[:, column].min()), int(rows[:, column].max())
            line += f" {f'{low}..{high}':>9}"
        print(line, flush=True)


def soak_stream(minutes: float, mode: str, folder: Path) -> None:
    """Stream and watch."""
    length_s = minutes * 60
    settling_s = min(_SETTLING_S, _SETTLING_SHARE * length_s)
    print(f"stream: {minutes:g} min of {mode}; what is read before {settling_s:g} s is left out", flush=True)
    with (
        _serving(folder, *_desktop(folder), "--codec", "h264", "--bitrate", "5 Mbit/s") as (host, address),
        _client("stream", address, mode) as client,
    ):
        assert client.stdout is not None
        worker = int(client.stdout.readline().split()[1])
        host_worker = None
        for _ in range(int(_WORKER_LIMIT_S / _READ_EVERY_S)):
            # It is started when the client starts, and has a turn to wait for.
            time.sleep(_READ_EVERY_S)
            host_worker = _child(host.pid, "punktfunk.host.stream.worker")
            if host_worker is not None:
                break
        if host_worker is None:
            raise SystemExit("the host has no worker")
        watched = [
            Watched("host", host.pid),
            Watched("host worker", host_worker),
            Watched("client", client.pid),
            Watched("client worker", worker),
        ]
        began = told = time.monotonic()
        try:
            while (now := time.monotonic()) - began < length_s:
                for process in watched:
                    process.read(now - began)
                if now - told >= _TOLD_EVERY_S:
                    told = now
                    state = ", ".join(f"{process.name} {process.readings[-1][1]} kB" for process in watched)
                    print(f"  {(now - began) / 60:5.1f} min  {state}", flush=True)
                time.sleep(_READ_EVERY_S)
        except (KeyboardInterrupt, ProcessLookupError) as error:
            print(f"  cut short after {time.monotonic() - began:.0f} s: {error or 'interrupted'}", flush=True)
        _tell_stream(watched, settling_s)
        assert client.stdin is not None
        client.stdin.close()
        print(" ", client.stdout.read().strip(), flush=True)


def soak_sessions(count: int, folder: Path) -> None:
    """Begin and end sessions, and watch."""
    settling = min(_SETTLING_SESSIONS, int(_SETTLING_SHARE * count) if count < 300 else _SETTLING_SESSIONS)
    print(f"sessions: {count} of 1 s; the first {settling} are left out", flush=True)
    with (
        _serving(folder, "--source", "synthetic", "--frame-bytes", "20000", "--frames", "60") as (
            host,
            address,
        ),
        _client("sessions", address, str(count)) as client,
    ):
        assert client.stdout is not None
        watched = [Watched("host", host.pid), Watched("client", client.pid)]
        try:
            for line in client.stdout:
                number, frames = map(int, line.split()[1:])
                if not frames:
                    print(f"  session {number} got no frame", flush=True)
                # The client that has said so last is about to end.
                for process in watched if number < count else watched[:1]:
                    process.read(number)
                if number % 50 == 0:
                    state = ", ".join(f"{process.name} {process.readings[-1][1]} kB" for process in watched)
                    print(f"  {number:5}  {state}", flush=True)
        except (KeyboardInterrupt, ProcessLookupError) as error:
            print(f"  cut short: {error or 'interrupted'}", flush=True)
    print(f"  {'process':14} {'kB now':>8} {'B a session':>12} {'95 % interval':>21}")
    for process in watched:
        rows = np.array([row for row in process.readings if row[0] > settling], dtype=np.float64)
        found = slope(rows[:, 0], rows[:, 1] * 1024) if len(rows) else None
        figures = (
            "too few sessions" if found is None else f"{found[0]:12.0f} {found[1]:10.0f} {found[2]:10.0f}"
        )
        print(
            f"  {process.name:14} {process.readings[-1][1] if process.readings else 0:8} {figures}",
            flush=True,
        )


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--mode", default="640x360@60")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        what, address, argument = options.client
        asyncio.run(
            _stream(address, Mode.parse(argument)) if what == "stream" else _sessions(address, int(argument))
        )
        return
    with tempfile.TemporaryDirectory(prefix="punktfunk-soak-") as name:
        if options.minutes:
            soak_stream(options.minutes, options.mode, Path(name))
        if options.sessions:
            soak_sessions(options.sessions, Path(name))


if __name__ == "__main__":
    main()
