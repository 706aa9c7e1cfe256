"""Machines of a cluster on one machine: each a network namespace, joined to the first by a cable of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from harness.network.namespaces import Namespace, netlink
from harness.network.topology import Topology, add_address, index_of, segment_address
from tests.support.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[2]
PORT: Final = 8786
MANY: Final = """
name: many
for:
  code: [gf8, gf16]
  fec: [0 %, 20 %, 50 %]
  loss: [0 %, 0.5 %, 1 %, 2 %, 5 %, 8 %, 12 %]
  burst: [1, 2, 4, 8, 16, 32]
  rtt: [1 ms, 10 ms, 30 ms, 80 ms, 200 ms]
  jitter: [0 ms, 1 ms, 4 ms, 10 ms]
stream: {scheme: "${code}", fec: "${fec}", block: 128}
media: {frames: 30, frame_bytes: 3 kB}
link:
  backend: sim
  down: {delay: "${rtt}", jitter: "${jitter}", loss: {kind: bursty, rate: "${loss}", burst: "${burst}"}}
  up: {delay: "${rtt}"}
expect: [frames_corrupt == 0]
"""
"""5,040 cases, of which a run keeps a table."""


class Machines:
    """Namespaces ``hub`` (scheduler and client) and ``worker1``, ``worker2``, …, and what runs in them."""

    def __init__(self, made: Topology, folder: Path) -> None:
        self.folder = folder
        self.hub = made.namespace("hub")
        self._made = made
        self._workers: dict[int, Namespace] = {}
        (folder / "many.yaml").write_text(MANY, encoding="utf-8")

    def scheduler(
        self, *options: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a scheduler in the hub and return when it listens."""
        command = [
            "distributed.cli.dask_scheduler",
            "--host",
            "0.0.0.0",
            "--port",
            str(PORT),
            "--no-dashboard",
        ]
        process = self._start(self.hub, "scheduler", [*command, *options], environment)
        eventually(lambda: "Scheduler at" in self.log("scheduler"), "the scheduler", 300.0)
        return process

    def worker(
        self, number: int, *options: str, environment: Mapping[str, str] | None = None, protocol: str = "tcp"
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread on machine ``number`` and return when the scheduler knows it."""
        if number not in self._workers:
            machine = self._made.namespace(f"worker{number}")
            self._made.veth(self.hub, f"to{number}", machine, "eth0")
            add_address(self.hub, f"to{number}", segment_address(number, 1))
            add_address(machine, "eth0", segment_address(number, 2))
            self._workers[number] = machine
        near, far = segment_address(number, 1).ipv4, segment_address(number, 2).ipv4
        command = [
            "distributed.cli.dask_worker",
            f"{protocol}://{near}:{PORT}",
            "--host",
            far,
            "--nthreads",
            "1",
        ]
        command += ["--no-dashboard", "--local-directory", str(self.folder / f"scratch{number}")]
        before = self.log("scheduler").count("Register worker")
        process = self._start(self._workers[number], f"worker{number}", [*command, *options], environment)
        eventually(lambda: self.log("scheduler").count("Register worker") > before, "the worker", 300.0)
        return process

    def processes_of(self, number: int) -> list[int]:
        """Return the processes on a worker's machine, the youngest last: nanny, then the worker itself."""
        inode = self._workers[number].inode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if (entry / "ns/net").stat().st_ino == inode:
                        found.append(int(entry.name))
                except OSError:
                    continue  # it has ended meanwhile
        return sorted(found)

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to every process on a worker's machine."""
        for pid in self.processes_of(number):
            os.kill(pid, what)

    def cable(self, number: int, *, up: bool) -> None:
        """Cut the cable of a worker's machine, or join it again."""
        device = f"to{number}"
        netlink(self.hub, lambda ip: ip.link("set", index=index_of(ip, device), state="up" if up else "down"))

    def lab(
        self, *arguments: str, environment: Mapping[str, str] | None = None, name: str = "client"
    ) -> subprocess.Popen[bytes]:
        """Start ``punktfunk-lab`` in the hub."""
        return self._start(self.hub, name, ["harness", *arguments], environment)

    def ran(self, process: subprocess.Popen[bytes], name: str = "client") -> str:
        """Wait for a run to end well and return what it said."""
        status = process.wait(timeout=1800)
        said = self.log(name)
        assert status == 0, said
        return said

    def log(self, name: str) -> str:
        """Return what a process has said so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def parts(self, out: str) -> int:
        """Return how many parts of results a run has written."""
        return len(list((self.folder / out).glob("*/cases/[0-9]*.parquet")))

    def _start(
        self, where: Namespace, name: str, module: Sequence[str], environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return where.run(
                lambda: subprocess.Popen(
                    [sys.executable, "-m", *module],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(ROOT),
                        "CI": "",
                        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
                        **(environment or {}),
                    },
                    start_new_session=True,
                )
            )


def digest_of(text: str) -> str:
    """Return the digest that a run printed last."""
    found = re.findall(r"digest of the simulated cases: ([0-9a-f]{64})", text)
    assert found, text
    return str(found[-1])


def each_once(out: Path) -> None:
    """Hold that a run's table has each of its cases in one row."""
    (folder,) = out.iterdir()
    places = pq.read_table(folder / "cases.parquet", columns=["place"]).column("place").to_pylist()
    assert sorted(places) == list(range(5040))
