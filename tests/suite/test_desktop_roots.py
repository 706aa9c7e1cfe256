"""The root folder of ``nox -s desktops``: whole or not there, made once, and a clear word where it cannot be made."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from punktfunk.errors import CapabilityError, HarnessError, PrivilegeError
from tests.desktops.rig import report, root
from tests.desktops.rig.packages import STABLE, SUITES, Suite
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
SUITE = Suite("small", "sid", ("one", "two"))


@pytest.fixture
def debstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a program that stands in for mmdebstrap: its last argument is the folder."""
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def acts(program: Path, what: str) -> None:
    begins = (
        f'for place; do :; done; mkdir -p "$place/etc"; : >"$place/etc/passwd"; echo "$*" >>{program}.calls'
    )
    program.write_text(f"#!/bin/sh\n{begins}\n{what}\n")
    program.chmod(0o755)


@pytest.mark.root
def test_a_root_is_made_once_of_its_packages_and_used_again(debstrap: Path, tmp_path: Path) -> None:
    acts(debstrap, "echo I: working")
    cache = tmp_path / "cache"
    made = root.prepare(SUITE, cache)
    assert made == cache / SUITE.key
    assert all((made / name).is_dir() for name in root.MOUNTS)
    assert root.prepare(SUITE, cache) == made
    [call] = Path(f"{debstrap}.calls").read_text().splitlines()
    assert "--include=one,two sid" in call
    assert root.prepare(Suite("small", "sid", ("one",)), cache) != made
    assert root.prepare(SUITE, cache, anew=True) == made
    assert len(Path(f"{debstrap}.calls").read_text().splitlines()) == 3


@pytest.mark.root
def test_a_build_that_fails_says_why_and_leaves_nothing(debstrap: Path, tmp_path: Path) -> None:
    acts(debstrap, "echo E: no such mirror; exit 7")
    with pytest.raises(HarnessError, match=r"ended with 7: .*no such mirror") as failed:
        root.prepare(SUITE, tmp_path / "cache")
    assert "network" in failed.value.hint
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.root
def test_a_build_that_was_killed_is_never_used(debstrap: Path, tmp_path: Path) -> None:
    acts(debstrap, f"touch {tmp_path}/began; exec sleep 600.{os.getpid()}")
    cache = tmp_path / "cache"
    code = (
        "from pathlib import Path; from tests.desktops.rig import root; from tests.desktops.rig.packages import Suite;"
        f"root.prepare(Suite('small', 'sid', ('one', 'two')), Path({str(cache)!r}))"
    )
    builder = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    eventually((tmp_path / "began").exists, "the build to begin")
    builder.kill()
    builder.wait()
    eventually(lambda: not _running(tmp_path), "what builds to end with who asked for it")
    assert (cache / f"{SUITE.key}.partial").is_dir()
    assert not (cache / SUITE.key).exists()
    acts(debstrap, 'touch "$place/whole"')
    assert (root.prepare(SUITE, cache) / "whole").exists()
    assert not list(cache.glob("*.partial"))


def _running(folder: Path) -> list[str]:
    """Return the command of each process that is about a folder, or is the sleep of the test above."""
    marks, found = (str(folder).encode(), f"600.{os.getpid()}".encode()), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                found += [command.decode()] if any(mark in command for mark in marks) else []
    return found


def test_what_is_missing_is_named_with_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PrivilegeError) as refused:
        root.prepare(SUITE, tmp_path)
    assert "sudo" in refused.value.hint
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(root.shutil, "which", lambda name: None if name == "mmdebstrap" else f"/bin/{name}")
    with pytest.raises(CapabilityError, match="mmdebstrap") as lacking:
        root.prepare(SUITE, tmp_path)
    assert "apt-get install mmdebstrap" in lacking.value.hint
    monkeypatch.setattr(root.shutil, "which", lambda _name: None)
    with pytest.raises(CapabilityError, match="unshare"):
        root.prepare(SUITE, tmp_path)


def test_another_list_of_packages_is_another_root() -> None:
    assert len({suite.key for suite in (*SUITES.values(), SUITE, Suite("small", "sid", ("one",)))}) == 4
    assert Suite("renamed", STABLE.codename, STABLE.packages).key == STABLE.key


def test_the_page_of_desktops_says_what_the_figures_say() -> None:
    """``nox -s desktops -- --record`` writes both."""
    page = REPOSITORY / report.PAGE
    assert page.read_text(encoding="utf-8") == report.text(REPOSITORY / report.FIGURES)
