"""The right to capture KWin: what is written where, who it is given to, and that it goes again."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from punktfunk import cli_grants
from punktfunk.desktop.kwin import grant
from punktfunk.errors import CapabilityError, DesktopError, UsageError
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home folder of a user without a grant."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return tmp_path


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[socket.socket]:
    """Return a listening socket, as a compositor's."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(PATIENCE_S)
        listening.bind(str(tmp_path / "wayland-0"))
        listening.listen()
        yield listening


def test_the_granted_program_makes_the_connection_and_is_there_while_it_is_looked_at(
    home: Path, compositor: socket.socket
) -> None:
    given = grant.give()

    def look(descriptor: int) -> str:
        accepted, _ = compositor.accept()
        with socket.socket(fileno=descriptor) as ours, accepted:
            ours.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
            assert not os.get_inheritable(descriptor)
            pid, _, _ = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            program = str(Path(f"/proc/{pid}/exe").readlink())
        assert pid != os.getpid()
        told.append(pid)
        return program

    told: list[int] = []
    assert grant.open_socket(compositor.getsockname(), look) == str(given.program)
    assert not Path(f"/proc/{told[0]}").exists()
    assert given.program.parent == home / ".local/share/punktfunk/kwin"
    assert given.program.parent.stat().st_mode & 0o777 == 0o700


def test_the_entry_names_that_program_and_capture_and_nothing_else(home: Path) -> None:
    given = grant.give()
    entry = given.entry.read_text().splitlines()
    assert given.entry.parent == home / ".local/share/applications"
    assert f"Exec={given.program}" in entry
    assert [line for line in entry if line.startswith("X-KDE")] == [
        "X-KDE-Wayland-Interfaces=zkde_screencast_unstable_v1"
    ]
    assert "NoDisplay=true" in entry


def test_a_grant_is_taken_back_whole(home: Path, compositor: socket.socket) -> None:
    grant.give()
    assert grant.take_back()
    left = {path.name for path in home.rglob("*") if path.is_file()}
    assert left == set()
    assert not grant.take_back()
    with pytest.raises(CapabilityError, match="not been granted") as raised:
        grant.open_socket(compositor.getsockname(), os.close)
    assert raised.value.hint == "run: punktfunk desktop grant kwin"


def test_nobody_at_the_socket_is_no_fault_of_the_grant(home: Path) -> None:
    grant.give()
    with pytest.raises(DesktopError, match="No such file"):
        grant.open_socket(str(home / "nobody"), os.close)


def test_a_program_whose_python_has_gone_asks_for_another_grant(
    home: Path, compositor: socket.socket
) -> None:
    given = grant.give()
    given.program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(CapabilityError, match="does not run any more"):
        grant.open_socket(compositor.getsockname(), os.close)
    grant.give()
    grant.open_socket(compositor.getsockname(), os.close)


def test_a_place_that_an_entry_cannot_name_is_refused_and_nothing_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "50%"))
    with pytest.raises(CapabilityError, match="cannot be told"):
        grant.give()
    assert not [path for path in home.rglob("*") if path.is_file()]
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "two words"))
    assert f'Exec="{home}/two words/punktfunk/kwin/punktfunk-screencast"' in grant.give().entry.read_text()


def test_nothing_is_granted_by_sudo(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    with pytest.raises(UsageError, match="root's"):
        cli_grants.grant(cli_grants.Granting.KWIN)
    assert not list(home.rglob("*"))


def test_an_option_that_changes_nothing_of_this_grant_is_refused_before_anything_is_done(
    home: Path, tmp_path: Path
) -> None:
    kwin = cli_grants.Granting.KWIN
    with pytest.raises(UsageError, match="--unasked is for the grant by portal"):
        cli_grants.grant(kwin, unasked=True)
    with pytest.raises(UsageError, match="--state-dir is for the grant by portal"):
        cli_grants.grant(kwin, tmp_path / "state")
    assert not list(home.rglob("*"))
    grant.give()
    with pytest.raises(UsageError, match="--state-dir is for the grant by portal"):
        cli_grants.revoke(kwin, tmp_path / "state")
    assert grant.place().given, "nothing was taken back either"
