"""How fast and how dear each desktop is, for ``docs/reference/desktops.md``: by hand, with ``--figures``.

Nothing is asserted of speed: compositors render in software here. What is asserted is that the figures are of pictures
that the client has really seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.peers import served_desktop
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.backends import open_desktop
from punktfunk.desktop.capture import numbered, open_capture
from punktfunk.units import Mode
from tests.desktops.rig.packages import REPORTED
from tests.desktops.support.desktops import KINDS, StreamedDesktop, streamed_desktop
from tests.desktops.support.processes import cpu_seconds
from tests.desktops.support.streaming import client_of, counted, pictures, serving
from tests.support.waiting import eventually

HD, FULL_HD = Mode(1280, 720, 60), Mode(1920, 1080, 60)
CASES = [
    (name, mode) for name, kind in KINDS.items() for mode in (HD, FULL_HD) if kind.own_output or mode == HD
]


@pytest.fixture(scope="module", autouse=True)
def written(request: pytest.FixtureRequest) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Return what takes a row of figures; the file is written when all are there."""
    if not request.config.getoption("--figures"):
        pytest.skip("figures are taken by hand, with --figures")
    rows: list[dict[str, Any]] = []
    load = os.getloadavg()[0]
    yield rows.append
    found = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *REPORTED],
        capture_output=True,
        text=True,
        check=False,  # it tells of those that it knows
    ).stdout
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} CPUs ({_processor()}), load {load:.0f} before",
        "packages": dict(line.split(" ") for line in found.splitlines()),
        "rows": rows,
    }
    out = Path("/out") if Path("/out").is_dir() else request.config.rootpath / "reports" / "desktops"
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("name", "mode"), CASES, ids=[f"{name}-{mode}" for name, mode in CASES])
def test_a_desktop_has_its_figures(
    name: str,
    mode: Mode,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    written: Callable[[dict[str, Any]], None],
) -> None:
    seconds: float = pytestconfig.getoption("--figure-seconds")
    with streamed_desktop(name, tmp_path / "taken") as desktop:
        taken = _taken(desktop, mode, seconds)
    with streamed_desktop(name, tmp_path / "streamed") as desktop:
        streamed = _streamed(desktop, mode, seconds, tmp_path)
    row = {"desktop": name, "mode": str(mode), **taken, **streamed}
    print(row)
    written(row)


def _taken(desktop: StreamedDesktop, mode: Mode, wanted_s: float) -> dict[str, float]:
    """Take pictures in this process without coding them: what they cost us, and how old they are then."""
    with pytest.MonkeyPatch.context() as inside:
        for variable, value in desktop.session.env.items():
            inside.setenv(variable, value)
        options = DesktopOptions(
            program=desktop.command if desktop.program else (), audio=False, state_dir=desktop.session.home
        )
        with desktop.answered():
            opened = open_desktop(options, desktop.kind.backend).desktop
        with opened:
            output = opened.provide(mode)
            connection = output.open_remote() if output.open_remote is not None else None
            capture = open_capture(numbered(output.screen), output.mode, connection=connection)
            try:
                capture.capture()
                desktop.show()
                eventually(lambda: capture.capture().frame >= 0, "a picture with a marker")
                numbers: set[int] = set()
                ages: list[float] = []
                began, before = monotonic_ns(), resource.getrusage(resource.RUSAGE_SELF)
                while monotonic_ns() - began < wanted_s * 1e9:
                    frame = capture.capture()
                    ages.append((monotonic_ns() - frame.captured_ns) / 1e6)
                    numbers.add(frame.frame)
                seconds, after = (monotonic_ns() - began) / 1e9, resource.getrusage(resource.RUSAGE_SELF)
            finally:
                capture.close()
                opened.give_back(output)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "fps": round(len(numbers) / seconds, 1),
        "picture_ms": round(float(np.median(ages)), 1),
        "our_ms": round(cpu / len(ages) * 1000, 2),
        "our_cpu": round(cpu / seconds * 100, 1),
    }


def _streamed(desktop: StreamedDesktop, mode: Mode, wanted_s: float, folder: Path) -> dict[str, float]:
    """Stream to a client, and say where the time goes from a program's drawing to a whole access unit."""

    async def scenario() -> float:
        async with client_of(host, folder, mode) as client:
            await counted(client, "frames_complete", 3)
            desktop.show()
            await pictures(client, 10)
            compositor = os.getpid() if desktop.compositor is None else desktop.compositor.program.pid
            began, before = monotonic_ns(), cpu_seconds(compositor)
            await asyncio.sleep(wanted_s)
            share = (cpu_seconds(compositor) - before) / ((monotonic_ns() - began) / 1e9)
            client.stop()
            await client.finished()
            return share

    with serving(desktop, folder) as host:
        share = asyncio.run(asyncio.wait_for(scenario(), wanted_s + 120))
        host.end()
    seen = served_desktop.pictures(host.left, folder / "client")
    assert seen.wrong == 0
    drawn, complete = seen.between("drawn_ns", "captured_ns"), seen.between("captured_ns", "complete_ns")
    coded = seen.between("captured_ns", "encode_end_ns")
    return {
        "streamed_fps": round(seen.fps, 1),
        "compositor_p50_ms": _quantile(drawn, 0.5),
        "compositor_p95_ms": _quantile(drawn, 0.95),
        "coded_p50_ms": _quantile(coded, 0.5),
        "complete_p50_ms": _quantile(complete, 0.5),
        "complete_p95_ms": _quantile(complete, 0.95),
        "compositor_cpu": round(share * 100) if desktop.compositor is not None else -1,
    }


def _quantile(values: np.ndarray[Any, Any], share: float) -> float:
    return round(float(np.quantile(values, share)), 1)


def _processor() -> str:
    named = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return named[0] if named else platform.machine()
