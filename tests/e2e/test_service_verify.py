"""What systemd says of the units that are written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from punktfunk.host.systemd.unit import NAME, Session, Unit

WORDS = ("--app=a 'b' \"c\" \\d %h $HOME ${HOME} é ;", "100%", "")


def verify(path: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "--recursive-errors=no", "verify", str(path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return {
        **os.environ,
        "XDG_RUNTIME_DIR": str(runtime),
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }


@pytest.mark.parametrize("session", list(Session))
def test_systemd_finds_nothing_wrong_with_it(
    session: Session, tmp_path: Path, env: dict[str, str], need_tool: Callable[..., str]
) -> None:
    need_tool("systemd-analyze", "systemd")
    path = tmp_path / NAME
    unit = Unit(session, (sys.executable, "-P", "-m", "punktfunk"), WORDS, hardened=True)
    path.write_text(unit.text())
    done = verify(path, env)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    path.write_text(unit.text().replace("Type=notify", "Type=notifyy"))
    assert "service type" in verify(path, env).stderr, "a fault would not have been seen"
