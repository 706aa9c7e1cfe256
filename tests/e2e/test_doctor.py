"""``punktfunk doctor``: what is there is tried, what is missing comes with the command that brings it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from punktfunk.errors import CapabilityError
from punktfunk.findings import Finding, collect, show, tried

REPOSITORY = Path(__file__).parents[2]


def examined(**environment: str) -> tuple[int, dict[str, Any]]:
    """Run the doctor without privilege, as people do."""
    plain = [shutil.which("setpriv") or "setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*(plain if os.geteuid() == 0 else []), sys.executable, "-m", "punktfunk", "doctor", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, {found["name"]: found for found in json.loads(done.stdout)}


def _take(end: socket.socket) -> None:
    """Take the port, which others look at for a moment; a host that streams on this machine has it for us."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            end.bind(("127.0.0.1", 9777))
            return
        time.sleep(0.05)


def test_this_machine_can_stream_and_a_port_that_is_taken_and_a_missing_sway_have_their_fix(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        _take(taken)
        status, found = examined(PATH=str(tmp_path), WAYLAND_DISPLAY="")
    assert status == 0
    assert found["protocol core"]["ok"]
    assert found["encoder x264"]["ok"]
    assert found["UDP send buffer"]["detail"].endswith("KiB")
    assert any(name.startswith("network") for name in found)
    assert {"real-time priority", "UDP segmentation offload", "PySDL2", "sound", "gamepads"} <= set(found)
    priority = found["real-time priority"]
    assert priority["ok"] or re.fullmatch(
        r"SCHED_FIFO is not granted; (a slice of 0\.1 ms in its place|no short slice either .*)",
        priority["detail"],
    )
    assert not found["UDP port 9777"]["ok"]
    assert "--native-port" in found["UDP port 9777"]["fix"]
    sway = found["headless sway"]
    assert (sway["ok"], sway["fix"]) == (False, "apt-get install sway")
    assert not found["running wlroots session"]["ok"]
    assert all(row["used_by"] for row in found.values())
    assert all(row["fix"] for row in found.values() if not row["ok"])


def test_an_address_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from punktfunk.rich_terminal import Console

    show([Finding("host [fd00::20]", True, "clients of [fe80::1%lan0]")], Console(width=120))
    shown = capsys.readouterr().out
    assert "host [fd00::20]" in shown
    assert "clients of [fe80::1%lan0]" in shown


def test_a_probe_that_breaks_is_a_missing_capability_and_an_essential_one_is_status_4(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def disk() -> list[Finding]:
        raise OSError("the disk is on fire")

    def refused() -> None:
        raise CapabilityError("no such device", "buy one")

    [broken] = collect([disk])
    assert (broken.name, broken.ok, broken.detail) == (
        "disk",
        False,
        "could not be tried: the disk is on fire",
    )
    optional = tried("part", "somebody", "", refused)
    assert (optional.ok, optional.detail, optional.fix) == (False, "no such device", "buy one")
    from rich.console import Console

    assert show([optional], Console()) == 0
    assert show([tried("part", "all", "", refused, essential=True)], Console()) == 4
    assert "buy one" in capsys.readouterr().out
