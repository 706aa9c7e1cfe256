"""``punktfunk service`` under a real systemd: installed, killed by its watchdog, still paired, removed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from punktfunk import log
from punktfunk.cli import app
from punktfunk.errors import ForeignFileError, NoServiceManagerError, ServiceError, UsageError
from punktfunk.host.serve import LOCK_FILE
from punktfunk.host.systemd.installation import Installation, program
from punktfunk.host.systemd.manager import UserManager
from punktfunk.host.systemd.unit import NAME, Session, Unit, command_line
from tests.support.user_manager import RunningManager, user_manager

pytestmark = [pytest.mark.root, pytest.mark.in_order]

OPTIONS = (
    *("--source=synthetic", "--frame-bytes=4000", "--bind=127.0.0.1", "--native-port=0", "--no-gamestream"),
    *("--mgmt-bind=127.0.0.1:0", "--no-mdns"),
)
SESSION = """\
[Unit]
BindsTo=graphical-session.target
Before=graphical-session.target
"""
QUICK = """\
[Service]
WatchdogSec=4
RestartSec=1
"""


@pytest.fixture(scope="module")
def manager(need_tool: Callable[..., str]) -> Iterator[RunningManager]:
    need_tool("systemctl", "systemd")
    with user_manager() as running:
        units = running.config / "systemd" / "user"
        (units / f"{NAME}.d").mkdir(parents=True)
        (units / "test-session.target").write_text(SESSION)
        (units / f"{NAME}.d" / "quick.conf").write_text(QUICK)
        yield running


@pytest.fixture
def installation(manager: RunningManager) -> Installation:
    return Installation(UserManager(manager.env), manager.config / "systemd" / "user" / NAME)


def call(manager: RunningManager, *words: str) -> Result:
    """Run a command of the program in this process, which costs a third of a second less."""
    try:
        return CliRunner().invoke(app, words, env={"XDG_CONFIG_HOME": None, "SUDO_UID": None, **manager.env})
    finally:
        log.reset()


def pair(manager: RunningManager, place: str, pin: str, state_dir: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "punktfunk", "pair", place, "--pin", pin, "--state-dir", str(state_dir)],
        env=manager.env,
        capture_output=True,
        timeout=60,
        check=True,
    )


class Streaming:
    """A client that streams until its host ends."""

    def __init__(self, manager: RunningManager, place: str, state_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "punktfunk", "connect", place, "--state-dir", str(state_dir)],
            env={**manager.env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_frames(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "Mbit/s" in line:
                return
        pytest.fail("the client ended without a frame")

    def rest(self) -> str:
        printed, _ = self.process.communicate(timeout=60)
        return printed


def test_words_of_a_unit_reach_the_program_as_they_were_given(manager: RunningManager) -> None:
    words = ("a b", "%h 100%", "$HOME ${HOME}", "'single' \"double\"", "back\\slash \\n", ";", "é", "")
    out = manager.home / "words"
    path = manager.config / "systemd" / "user" / "words.service"
    line = command_line(["/usr/bin/printf", "%s\\0", *words])
    path.write_text(f"[Service]\nType=oneshot\nExecStart=:{line}\nStandardOutput=truncate:{out}\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("start", "words.service")
    assert out.read_text().split("\0")[:-1] == list(words)


def test_before_it_is_installed_there_is_none(manager: RunningManager, installation: Installation) -> None:
    state = installation.state()
    assert (state.found, state.foreign, state.active, state.running) == (None, "", "inactive", False)
    assert not installation.remove()


def test_options_that_serve_refuses_install_nothing(installation: Installation) -> None:
    with pytest.raises(UsageError, match=r"a host with these options does not start.*bitrate"):
        installation.install(Unit(Session.GRAPHICAL, program(), (*OPTIONS, "--bitrate=fast")))
    assert not installation.path.exists()


def test_it_is_installed_for_a_session_that_does_not_run_yet(manager: RunningManager) -> None:
    done = call(manager, "service", "install", "--hardened", "--", *OPTIONS)
    assert done.exit_code == 0, done.output
    assert "none that systemd knows of runs now" in done.stdout
    assert manager.property(NAME, "ActiveState") == "inactive"
    assert manager.property(NAME, "UnitFileState") == "enabled"


def test_it_starts_with_the_graphical_session_and_says_when_it_is_ready(
    manager: RunningManager, installation: Installation
) -> None:
    manager.systemctl("start", "test-session.target")
    assert manager.property(NAME, "ActiveState") in {"activating", "active"}
    manager.systemctl("start", NAME)  # waits for the start that goes on
    state = installation.state()
    assert state.status == "ready, 0 streaming"
    assert state.process == int(manager.property(NAME, "MainPID"))
    shown = call(manager, "service", "status")
    assert shown.exit_code == 0
    assert "active (running): ready, 0 streaming" in shown.stdout


def test_a_host_that_hangs_comes_back_with_its_clients_paired_and_ends_with_its_session(
    manager: RunningManager, installation: Installation, tmp_path: Path
) -> None:
    state_dir = manager.config / "punktfunk"
    armed = call(manager, "arm")
    pin = armed.stdout.partition("--pin ")[2].partition(" ")[0]

    def place() -> str:
        return f"127.0.0.1:{_udp_port(installation.state().process)}"

    pair(manager, place(), pin, tmp_path)
    identity = (state_dir / "trust.json").read_bytes()
    former = installation.state()
    os.kill(former.process, signal.SIGSTOP)
    manager.wait_for(NAME, "MainPID", lambda process: process not in {"0", str(former.process)})
    manager.systemctl("start", NAME)
    assert installation.state().restarts >= former.restarts + 1
    assert (state_dir / "trust.json").read_bytes() == identity
    streaming = Streaming(manager, place(), tmp_path)
    streaming.wait_for_frames()
    assert installation.state().status == "ready, 1 streaming"

    # The session ends: all processes of the service are told at once, and the client hears of it from the host.
    manager.systemctl("stop", "test-session.target")
    manager.wait_for(NAME, "ActiveState", lambda state: state == "inactive")
    assert installation.state().result == "success"
    assert "host: the session ended (host stopped)" in streaming.rest()
    manager.systemctl("start", "test-session.target")
    manager.systemctl("start", NAME)


def test_a_unit_that_somebody_changed_and_one_of_another_installation_are_left_as_they_are(
    installation: Installation,
) -> None:
    ours = installation.path.read_bytes()
    unit = Unit(Session.GRAPHICAL, program(), OPTIONS)
    installation.path.write_bytes(ours.replace(b"RestartSec=10", b"RestartSec=6"))
    with pytest.raises(ForeignFileError, match="was changed after punktfunk wrote it"):
        installation.install(unit)
    assert b"RestartSec=6" in installation.path.read_bytes()
    installation.path.write_bytes(ours)
    with pytest.raises(ForeignFileError, match=f"another installation of punktfunk: {sys.executable}"):
        installation.install(Unit(Session.GRAPHICAL, ("/usr/bin/env", *program()), OPTIONS))
    assert installation.path.read_bytes() == ours


def test_a_host_that_does_not_come_up_leaves_the_former_service(
    manager: RunningManager, installation: Installation
) -> None:
    """Another host has the state folder: options are fine, and the start fails all the same."""
    folder = manager.home / "taken"
    ours = installation.path.read_bytes()
    folder.mkdir(mode=0o700)
    with (folder / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match="the host does not come up") as refused:
            installation.install(Unit(Session.GRAPHICAL, program(), (*OPTIONS, f"--state-dir={folder}")))
    assert "exit-code, status 2" in refused.value.cause
    assert installation.path.read_bytes() == ours
    assert installation.state().running


def test_it_is_removed_and_pairing_stays(manager: RunningManager, installation: Installation) -> None:
    done = call(manager, "service", "remove")
    assert done.exit_code == 0, done.output
    assert not installation.path.exists()
    assert manager.property(NAME, "UnitFileState") == ""
    assert json.loads((manager.config / "punktfunk" / "trust.json").read_text())
    assert (installation.path.parent / f"{NAME}.d" / "quick.conf").exists()


def test_a_unit_that_punktfunk_did_not_write_is_neither_replaced_nor_removed(
    manager: RunningManager, installation: Installation
) -> None:
    text = "[Service]\nExecStart=/bin/true\n"
    installation.path.write_text(text)
    manager.systemctl("daemon-reload")
    with pytest.raises(ForeignFileError, match="was not written by this punktfunk"):
        installation.install(Unit(Session.GRAPHICAL, program(), OPTIONS))
    with pytest.raises(ForeignFileError, match="was not written by this punktfunk"):
        installation.remove()
    assert installation.path.read_text() == text
    installation.path.unlink()
    installation.path.symlink_to("/dev/null")
    with pytest.raises(ForeignFileError, match="is a link to /dev/null"):
        installation.install(Unit(Session.GRAPHICAL, program(), OPTIONS))
    installation.path.unlink()


def test_a_unit_of_a_package_is_not_shadowed(manager: RunningManager, installation: Installation) -> None:
    packaged = manager.runtime / "systemd" / "user"
    packaged.mkdir(parents=True, exist_ok=True)
    (packaged / NAME).write_text("[Service]\nExecStart=/bin/true\n")
    manager.systemctl("daemon-reload")
    with pytest.raises(ForeignFileError, match=f"is installed already, as {packaged}"):
        installation.install(Unit(Session.GRAPHICAL, program(), OPTIONS))
    assert not installation.path.exists()
    (packaged / NAME).unlink()
    manager.systemctl("daemon-reload")


def test_where_no_manager_answers_the_error_says_how_to_reach_it(tmp_path: Path) -> None:
    nobody = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    nobody.pop("DBUS_SESSION_BUS_ADDRESS", None)
    with pytest.raises(NoServiceManagerError) as refused:
        UserManager(nobody).version()
    assert refused.value.hint


def _udp_port(process: int) -> int:
    """Return the UDP port of loopback that a process has bound."""
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        name = str(descriptor.readlink())
        if name.startswith("socket:["):
            inodes.add(name[8:-1])
    lines = [line.split() for line in Path(f"/proc/{process}/net/udp").read_text().splitlines()[1:]]
    (port,) = {int(line[1].partition(":")[2], 16) for line in lines if line[9] in inodes}
    return port


def test_a_service_starts_its_workers_as_it_was_started_itself() -> None:
    script = "from punktfunk.interpreter import module_command; print(module_command('json')[1:])"
    for options, command in (((), "['-m', 'json']"), (("-P",), "['-P', '-m', 'json']")):
        done = subprocess.run(
            [sys.executable, *options, "-c", script],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == command
