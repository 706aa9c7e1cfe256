"""A session is open once what it has started is of use: programs that are asked earlier are left without it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from punktfunk.desktop.pipewire.objects import PORT, arrival
from punktfunk.desktop.session import DesktopSession, SessionOptions
from punktfunk.errors import DesktopError
from tests.support.waiting import PATIENCE_S

Wrapped = Callable[[str, str], None]


@pytest.fixture
def wrapped(
    desktop_parts: None, need_tool: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Wrapped:
    """A function that puts a script before a program of the session's; ``$real`` is the program."""
    for program in ("pipewire", "wireplumber", "pipewire-pulse"):
        need_tool(program, program)
    need_tool("dbus-daemon", "dbus-daemon")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def wrap(program: str, script: str) -> None:
        real = shutil.which(program)
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\nreal={real}\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)

    return wrap


def _runtime(session: DesktopSession) -> Path:
    return Path(session.pulse_server.removeprefix("unix:")).parents[1]


def test_a_session_with_sound_is_open_once_its_sink_has_ports(wrapped: Wrapped, tmp_path: Path) -> None:
    """PipeWire 0.3.65 gave no sound, then or later, to a recording that was linked while the sink got them."""
    wrapped("wireplumber", 'sleep 1; touch manager; exec "$real"')
    with DesktopSession(SessionOptions(audio=True)) as session:
        assert (tmp_path / "manager").exists()
        with arrival(_runtime(session) / "pipewire-0", PORT) as ports:
            assert ports.wait(PATIENCE_S)


def test_what_a_session_starts_finds_its_bus(wrapped: Wrapped, tmp_path: Path) -> None:
    """WirePlumber ends where it does not."""
    wrapped("dbus-daemon", 'sleep 1; touch bus; exec "$real" "$@"')
    wrapped("pipewire", 'test -e bus && touch after-bus; exec "$real"')
    with DesktopSession(SessionOptions(audio=True)):
        assert (tmp_path / "after-bus").exists()


def test_a_session_manager_that_ends_is_told_with_its_status(wrapped: Wrapped) -> None:
    wrapped("wireplumber", "exit 3")
    with pytest.raises(DesktopError, match="wireplumber ended while it started, with status 3"):
        DesktopSession(SessionOptions(audio=True)).close()


def test_nobody_at_the_socket_is_an_error_of_the_desktop(
    tmp_path: Path, need_tool: Callable[..., str]
) -> None:
    need_tool("pipewire", "pipewire")
    with (
        pytest.raises(DesktopError, match=r"PipeWire does not answer at .*/nobody"),
        arrival(tmp_path / "nobody", PORT),
    ):
        pass
