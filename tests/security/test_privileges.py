"""A host and its client need no privilege (promise P14): both run here without a single capability."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S, eventually

REPOSITORY = Path(__file__).parents[2]
PLAIN = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
PROGRAM = [sys.executable, "-m", "punktfunk"]


def capabilities(pid: int) -> int | None:
    """The capabilities that a process has or could get; None of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return None
    sets = re.findall(r"^Cap(?:Prm|Eff|Bnd):\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert len(sets) == 3
    return sum(int(one, 16) for one in sets)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite itself runs without privilege: every test shows it")
def test_a_host_streams_to_a_client_and_neither_has_a_capability(need_tool: object, tmp_path: Path) -> None:
    need_tool("setpriv", "util-linux")  # type: ignore[operator]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path), "COLUMNS": "200"}
    serve = [
        *PLAIN, *PROGRAM, "serve", "--no-gamestream", "--bind", "127.0.0.1", "--native-port", "0",
        "--mgmt-bind", "127.0.0.1:0",
        "--no-mdns", "--open", "--source", "synthetic", "--frame-bytes", "20000", "--frames", "180", "--sessions", "1",
        "--state-dir", str(tmp_path / "host"),
    ]  # fmt: skip
    host = subprocess.Popen(
        serve, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert host.stdout is not None
        banner = ""
        for line in host.stdout:
            banner += line
            if line.startswith("next"):
                break
        place = re.search(r"127\.0\.0\.1:\d+(?= \(UDP\))", banner)
        assert place is not None, banner + (
            host.stderr.read() if host.stderr and host.poll() is not None else ""
        )
        client = subprocess.Popen(
            [*PLAIN, *PROGRAM, "connect", place[0], "--state-dir", str(tmp_path / "client")],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert client.stdout is not None
        first = client.stdout.readline()
        eventually(lambda: children(host.pid), "the stream's worker")
        seen = {
            pid: found
            for pid in (host.pid, client.pid, *children(host.pid), *children(client.pid))
            if (found := capabilities(pid)) is not None
        }
        told = first + client.communicate(timeout=PATIENCE_S)[0]
        host.communicate(timeout=PATIENCE_S)
    finally:
        host.kill()
        host.wait()
    assert "180 of 180 frames intact" in told
    assert (client.returncode, host.returncode) == (0, 0)
    assert len(seen) >= 3, "the stream's worker was not seen"
    assert not any(seen.values()), seen
