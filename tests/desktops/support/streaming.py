"""A desktop that is streamed: ``punktfunk serve`` in its session as a user starts it, and a client in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import punktfunk
from harness.peers.served_desktop import ServedDesktop
from punktfunk.input import InputEvent
from punktfunk.units import Mode
from tests.desktops.support.desktops import StreamedDesktop
from tests.desktops.support.processes import processes_with
from tests.support.client_counters import counted
from tests.support.waiting import eventually

MODE: Final = Mode(1280, 720, 30)
_GAP_S: Final = 0.004
_LAST_LINES: Final = 12
_MARK: Final = "PUNKTFUNK_TEST_RUN"


class Served(ServedDesktop):
    """A host in a desktop's session, and all that it has started: told by their environment."""

    def __init__(self, desktop: StreamedDesktop, folder: Path, *options: str) -> None:
        self._mark = f"{_MARK}={uuid.uuid4()}"
        env = {**desktop.session.env, _MARK: self._mark.partition("=")[2]}
        super().__init__(folder, *desktop.options, *options, program=desktop.program, env=env)

    @property
    def pid(self) -> int:
        """Process id of the host."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> dict[int, str]:
        """Return pid and command of everything that this host has started and itself, as far as it runs."""
        return processes_with(self._mark)

    @property
    def workers(self) -> list[int]:
        """Process ids of its stream workers."""
        return [pid for pid, command in self.processes().items() if "punktfunk.host.stream.worker" in command]


@contextlib.contextmanager
def serving(desktop: StreamedDesktop, folder: Path, *options: str) -> Iterator[Served]:
    """Serve the desktop; what the host has started must be gone when it has ended."""
    with contextlib.ExitStack() as ends:
        with desktop.answered():
            host = ends.enter_context(Served(desktop, folder, *options))
        try:
            yield host
        except BaseException as error:
            error.add_note("\n".join(["the host has said:", *host.log.splitlines()[-_LAST_LINES:]]))
            raise
    left = host.processes()
    assert not left, f"left by the host: {left}"


@contextlib.asynccontextmanager
async def client_of(host: ServedDesktop, folder: Path, mode: Mode = MODE) -> AsyncIterator[punktfunk.Client]:
    """Connect a client that decodes and keeps records in ``folder``/client."""
    config = punktfunk.ClientConfig(
        pin=host.fingerprint, mode=mode, artefacts=folder / "client", state_dir=folder / "client-state"
    )
    async with punktfunk.Client(host.address, config) as client:
        yield client


class ClientProcess:
    """A client as a process of its own, which can be killed; what it prints is read as it comes.

    A context manager that ends it, as a person who closes it does.
    """

    def __init__(self, host: ServedDesktop, folder: Path, mode: Mode = MODE) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "address": host.address,
            "pin": host.fingerprint,
            "trust": "lab",
            "mode": str(mode),
            "artefacts": str(folder / "client"),
        }
        (folder / "client.json").write_text(json.dumps(config), encoding="utf-8")
        self._said = folder / "client.jsonl"
        with self._said.open("wb") as said, (folder / "client.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "punktfunk.client", "--config", str(folder / "client.json")],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of that event that it has printed."""
        text = self._said.read_text(encoding="utf-8")
        told = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in told if line["event"] == event]

    @property
    def frames(self) -> int:
        """How many frames have come whole."""
        return sum(int(line["frames"]) for line in self.lines("second"))

    @property
    def ended(self) -> str:
        """Why the session ended, in its words; "" while it goes on."""
        lines = self.lines("ended")
        return str(lines[-1]["reason"]) if lines else ""

    def receives(self, more: int) -> None:
        """Wait until that many frames more have come."""
        before = self.frames
        eventually(lambda: self.ended or self.frames >= before + more, f"{more} more frames")
        assert not self.ended, f"the stream ended: {self.ended}"

    def kill(self) -> None:
        """End it as a crash or a lost network does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self.kill()


async def pictures(client: punktfunk.Client, more: int) -> None:
    """Wait for pictures in which the client can read the frame marker."""
    await counted(client, "strips_read", more)


async def send(client: punktfunk.Client, *events: InputEvent | Sequence[InputEvent]) -> None:
    """Send input, with gaps as of a person who is very fast."""
    for event in events:
        for one in event if isinstance(event, list | tuple) else (event,):
            client.send(one)
            await asyncio.sleep(_GAP_S)
