"""What becomes of ``serve``'s options in a service, and the ports that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from punktfunk import cli
from punktfunk.cli_service import ServeOptions, serve_options
from punktfunk.errors import UsageError
from punktfunk.gamestream.ports import Ports
from punktfunk.host.config import NATIVE_PORT
from punktfunk.host.systemd.installation import refuse_sudo
from punktfunk.host.systemd.unit import Session

USUAL = Ports()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*options: str, session: Session = Session.GRAPHICAL) -> ServeOptions:
    context: Any = get_command(cli.app).make_context("punktfunk", ["version"])
    return serve_options(context, list(options), session)


def test_without_options_a_service_serves_what_serve_does_and_names_its_ports() -> None:
    assert read() == ServeOptions((), USUAL.tcp, (NATIVE_PORT, *USUAL.udp, 5353))


def test_paths_are_whole_for_a_service_has_another_folder(home: Path) -> None:
    (home / "film.mkv").touch()
    given = read("--source", "file", "--file", "film.mkv", "--record=out/../kept", "--state-dir", "/srv/host")
    assert set(given.words) == {
        "--source=file", f"--file={home}/film.mkv", f"--record={home}/kept", "--state-dir=/srv/host",
    }  # fmt: skip


def test_switches_stay_on_or_off_as_they_were_given() -> None:
    assert set(read("--no-audio", "--own-sink", "--gamestream", "--max-sessions", "2").words) == {
        "--no-audio", "--own-sink", "--gamestream", "--max-sessions=2",
    }  # fmt: skip


def test_headless_a_desktop_of_its_own_is_streamed_unless_something_else_is_named() -> None:
    headless = Session.HEADLESS
    assert read("--max-sessions=2", session=headless).words == ("--max-sessions=2", "--desktop=headless-sway")
    for named in ("--source=testcard", "--desktop=wlroots", "--app=foot"):
        assert read(named, session=headless).words == (named,)
    assert read("--max-sessions=2").words == ("--max-sessions=2",)


def test_the_state_folder_of_this_shell_is_that_of_the_service(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert read().words == (f"--state-dir={home}/elsewhere/punktfunk",)
    assert read("--state-dir=/srv/host").words == ("--state-dir=/srv/host",)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    assert read().words == ()


def test_only_ports_that_are_served_are_named() -> None:
    assert read("--no-gamestream", "--no-mdns", "--native-port=9000") == ServeOptions(
        ("--native-port=9000", "--no-gamestream", "--no-mdns"), (), (9000,)
    )
    moved = Ports(50_000)
    given = read("--no-native", "--gamestream-port=50000", "--no-mdns")
    assert (given.tcp, given.udp) == (moved.tcp, moved.udp)


@pytest.mark.parametrize("option", ["--arm=60", "--check"])
def test_what_a_service_cannot_have_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"a service has no {option.partition('=')[0]}"):
        read(option)


def test_by_sudo_nothing_is_installed_for_root() -> None:
    refuse_sudo({})
    with pytest.raises(UsageError, match="by sudo"):
        refuse_sudo({"SUDO_UID": "1000"})
