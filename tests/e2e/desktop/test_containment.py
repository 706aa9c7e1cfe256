"""What holds a session together where user namespaces are forbidden: descent, or a refusal for root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
PLAIN = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all"]

_PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from punktfunk.desktop.session import DesktopSession

def alive(text):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if text.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\\0", b" ").decode())
        except OSError:
            pass
    return found

def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True

session = DesktopSession()
print("containment", session.containment)
runtime = str(Path(session.socket).parent)
session.launch(["sleep", "100"])
if sys.argv[1] == "close":
    session.launch(["sh", "-c", "setsid sh -c 'trap \\"\\" TERM HUP; while :; do sleep 1; done' & exit 0"])
    assert eventually(lambda: any(line.startswith("sh -c trap") for line in alive(runtime)))
else:
    os.kill(session.supervisor_pid, signal.SIGKILL)
    assert eventually(lambda: not alive(runtime)), alive(runtime)
session.close()
print("left", alive(runtime), Path(runtime).exists())
"""


@pytest.fixture
def without_namespaces(
    desktop_parts: None, need_tool: Callable[..., str], lack: Callable[[str], None]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    need_tool("unshare", "util-linux")
    need_tool("setpriv", "util-linux")

    def run(identity: list[str], drop: list[str], how: str) -> subprocess.CompletedProcess[str]:
        inner = [*drop, sys.executable, "-c", _PROGRAM, how]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        env.pop("XDG_RUNTIME_DIR", None)
        done = subprocess.run(
            ["unshare", "--user", *identity, "--keep-caps", "sh", "-c", FORBID, "sh", *inner],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if "max_user_namespaces" in done.stderr:
            lack("the right to make user namespaces (kernel.unprivileged_userns_clone, AppArmor, container)")
        return done

    return run


@pytest.mark.parametrize("how", ["close", "kill"])
def test_an_ordinary_user_without_namespaces_gets_a_session_that_ends_its_descendants(
    without_namespaces: Callable[..., subprocess.CompletedProcess[str]], how: str
) -> None:
    done = without_namespaces(["--map-user=1000", "--map-group=1000"], PLAIN, how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["containment descent", "left [] False"]


def test_root_without_namespaces_is_refused_with_the_reason(
    without_namespaces: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = without_namespaces(["--map-root-user"], [], "close")
    assert done.returncode != 0
    assert "no user namespace can be made" in done.stderr
    assert "as an ordinary user" in done.stderr
