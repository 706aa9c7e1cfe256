"""``punktfunk serve`` as it starts by default: one process, both wires, at the ports where clients look."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
IN_A_NAMESPACE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"']
PROGRAM = [sys.executable, "-m", "punktfunk", "serve"]
_LISTENS = "0A"

pytestmark = pytest.mark.root


@pytest.fixture
def by_default(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """Start it alone in a network, where nobody else has its ports; give its process and its banner."""
    options = ("--source", "synthetic", "--no-mdns", "--state-dir", str(tmp_path / "host"))
    process = subprocess.Popen(
        [*IN_A_NAMESPACE, *PROGRAM, *options],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    banner = ""
    for line in process.stdout:
        banner += line
        if line.startswith("next"):
            break
    try:
        yield process.pid, banner
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")


def ports_of(pid: int, kind: str) -> set[int]:
    """Return the ports that the sockets of a process are bound to; those of TCP that listen."""
    its = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            target = str(link.readlink())
            if target.startswith("socket:["):
                its.add(target[8:-1])
    rows = [
        row.split()
        for family in ("", "6")
        for row in Path(f"/proc/{pid}/net/{kind}{family}").read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[9] in its and (kind == "udp" or row[3] == _LISTENS)
    }


def test_one_process_holds_the_ports_of_both_wires(by_default: tuple[int, str]) -> None:
    pid, banner = by_default
    assert ports_of(pid, "tcp") == {47984, 47989, 48010, 47990}
    assert {9777, 47998, 47999, 48000} <= ports_of(pid, "udp")
    assert "native host  127.0.0.1 (UDP)" in banner
    assert "gamestream   in Moonlight: add the host 127.0.0.1, and enter the PIN" in banner
    assert "WARNING" not in banner
