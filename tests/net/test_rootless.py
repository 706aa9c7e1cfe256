"""Live links without root: a user namespace does, where the kernel gives one out and /dev/net/tun is open."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.network import userns
from tests.support.proven import once_proven

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(200)]

NOBODY = 65534
SCENARIO = """\
name: rootless
media: {source: synthetic, mode: 640x360@60, bitrate: 2 Mbit/s, duration: 2 s}
link:
  backend: tun
  down: {delay: 5 ms, loss: 3 %}
"""

# A device node of its own, open to all as udev makes it, in a mount namespace that ends with the test.
WRAP = """\
mkdir -p /dev/net && mount -t tmpfs tmpfs /dev/net && mknod /dev/net/tun c 10 200 && chmod {mode} /dev/net/tun
exec setpriv --reuid {uid} --regid {uid} --clear-groups {command}
"""


def can(path: Path) -> bool:
    """Whether the user nobody can read ``path``."""
    command = [
        "setpriv",
        "--reuid",
        str(NOBODY),
        "--regid",
        str(NOBODY),
        "--clear-groups",
        "test",
        "-r",
        str(path),
    ]
    return subprocess.run(command, check=False).returncode == 0


def interpreter() -> tuple[str, str] | None:
    """An interpreter of this version that nobody may run, and its PYTHONPATH."""
    root = Path(harness.__file__).parents[1]
    packages = sysconfig.get_path("purelib")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (sys.executable, shutil.which(version, path="/usr/bin") or ""):
        if program and can(Path(program).resolve()) and can(root / "harness") and can(Path(packages)):
            return program, f"{root}:{packages}"
    return None


def run_as_nobody(folder: Path, mode: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the scenario with a device node of that mode; return the process and the result of its one case."""
    found = interpreter()
    if found is None:
        pytest.skip("the user nobody can reach neither this Python nor the system's")
    program, path = found
    folder.chmod(0o755)
    out = folder / "out"
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)
    (folder / "rootless.yaml").write_text(SCENARIO)
    command = [
        "env", f"HOME={out}", f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1", "XDG_RUNTIME_DIR=",
        program, "-m", "harness", "run", str(folder / "rootless.yaml"), "--no-charts", "--out", str(out),
    ]  # fmt: skip
    script = WRAP.format(uid=NOBODY, mode=mode, command=shlex.join(command))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=180
    )
    results = list(out.glob("*/*/case.json"))
    assert len(results) == 1, done.stdout + done.stderr
    return done, json.loads(results[0].read_text())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that nobody can reach. Those of pytest are closed again by every other pytest that begins here."""
    with tempfile.TemporaryDirectory(prefix="punktfunk-rootless-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(autouse=True)
def _user_namespaces(need_tool: Callable[..., str]) -> None:
    need_tool("setpriv", "util-linux")
    if why := userns.refusal():
        pytest.skip(f"no user namespaces here: {why}")


def test_a_user_without_rights_runs_a_live_case(open_folder: Path) -> None:
    done, case = once_proven(
        lambda folder: run_as_nobody(folder, "0666"), lambda found: found[1]["reason"], open_folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert case["backend"] == "tun"
    assert case["metrics"]["frames_submitted"]["value"] == 120
    assert not any(case["ledgers"]["host_to_client"]["balances"].values())


def test_a_closed_device_node_is_named_with_what_would_fix_it(open_folder: Path) -> None:
    done, case = run_as_nobody(open_folder, "0600")
    assert case["status"] == "unsupported"
    assert "/dev/net/tun cannot be opened" in case["reason"]
    assert "chmod 0666 /dev/net/tun" in case["reason"]
    assert "cannot be opened" in done.stdout
