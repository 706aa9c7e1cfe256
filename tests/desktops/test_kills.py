"""SIGKILL to each part of a stream, on each desktop: it is told, the next session streams, and nothing is left.

A run draws some pairs of part and desktop by its seed; ``--desktop-kills 50`` takes each once and goes round until
there have been so many.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desktops.support.desktops import KINDS, StreamedDesktop, streamed_desktop
from tests.desktops.support.streaming import ClientProcess, Served, serving
from tests.support.waiting import eventually

PARTS = ("client", "worker", "compositor", "pipewire", "host")
PAIRS = [
    (part, name)
    for name, part in itertools.product(KINDS, PARTS)
    # A desktop of the host's own has its compositor and its PipeWire below the host.
    if KINDS[name].compositor is not None or part not in ("compositor", "pipewire")
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take as many pairs as were asked for, each once before any twice."""
    kills = metafunc.config.getoption("--desktop-kills")
    drawn = random.Random(metafunc.config.option.seed).sample(PAIRS, len(PAIRS))
    chosen = list(itertools.islice(itertools.cycle(drawn), kills))
    metafunc.parametrize(
        ("part", "name"),
        [pytest.param(*pair, id=f"{number}-{'-'.join(pair)}") for number, pair in enumerate(chosen)],
    )


@pytest.fixture
def desktop(name: str, tmp_path: Path) -> Iterator[StreamedDesktop]:
    """The desktop of the pair."""
    with streamed_desktop(name, tmp_path) as there:
        yield there


def test_what_is_killed_is_told_and_leaves_nothing(
    desktop: StreamedDesktop, part: str, tmp_path: Path
) -> None:
    before = desktop.state()
    with serving(desktop, tmp_path / "first", "--sessions", "0") as host:
        with ClientProcess(host, tmp_path / "killed") as client:
            client.receives(5)
            kill(part, desktop, host, client)
            if part != "client":
                eventually(
                    lambda: client.ended or _goes_on(client),
                    "the client to be told, or to see pictures again",
                )
        if part != "host":
            with ClientProcess(host, tmp_path / "next") as client:
                client.receives(5)
    if part == "host":
        with serving(desktop, tmp_path / "second") as host, ClientProcess(host, tmp_path / "next") as client:
            client.receives(5)
    desktop.is_as(before)


def kill(part: str, desktop: StreamedDesktop, host: Served, client: ClientProcess) -> None:
    """Kill the part, and start again what the user's session would."""
    match part:
        case "client":
            client.kill()
        case "worker":
            [worker] = host.workers
            os.kill(worker, signal.SIGKILL)
        case "host":
            os.kill(host.pid, signal.SIGKILL)
            eventually(lambda: not host.processes(), "all that the host has started to end with it")
        case "compositor":
            desktop.crash()
        case "pipewire":
            desktop.session.pipewire.kill()
            desktop.session.restart_pipewire()


def _goes_on(client: ClientProcess) -> bool:
    """Whether frames have come in each of the last three seconds."""
    seconds = client.lines("second")
    return len(seconds) >= 5 and all(second["frames"] for second in seconds[-3:])
