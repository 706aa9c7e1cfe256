"""A user's session without a desktop yet: folders of its own, a session bus, PipeWire with a sink as "the speakers"."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.desktops.support.processes import Program, Programs
from tests.support.waiting import eventually

SPEAKERS: Final = "speakers"
"""The sink that stands in for the sound card of the user's machine."""
_KEPT: Final = (
    "PATH",
    "LANG",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "SSL_CERT_FILE",
    "CI",
    "PYDANTIC_DISABLE_PLUGINS",
)


@dataclass
class UserSession:
    """What every program of the session has in its environment, and what runs beside the desktop."""

    programs: Programs
    bus: Program
    media: list[Program]
    """PipeWire, its session manager and the sound server, in this order."""

    @property
    def pipewire(self) -> Program:
        """PipeWire itself."""
        return self.media[0]

    @property
    def env(self) -> dict[str, str]:
        """The environment of the session; a compositor adds its own to it."""
        return self.programs.env

    @property
    def runtime(self) -> Path:
        """XDG_RUNTIME_DIR."""
        return self.programs.runtime

    @property
    def home(self) -> Path:
        """HOME."""
        return Path(self.env["HOME"])

    def nodes(self) -> list[str]:
        """Return class and name of every node of PipeWire, clients' streams too, sorted."""
        dumped: list[dict[str, Any]] = json.loads(self.programs.run("pw-dump"))
        nodes = [each["info"]["props"] for each in dumped if each["type"] == "PipeWire:Interface:Node"]
        return sorted(f"{props.get('media.class', '')} {props.get('node.name', '')}" for props in nodes)

    def sound(self) -> str:
        """Return the default sink, whether it is mute, and all sinks, as the user would find them."""
        run = self.programs.run
        sinks = " ".join(line.split("\t")[1] for line in run("pactl", "list", "short", "sinks").splitlines())
        mute = run("pactl", "get-sink-mute", "@DEFAULT_SINK@").strip()
        return f"default {run('pactl', 'get-default-sink').strip()}, {mute}, sinks: {sinks}"

    def restart_pipewire(self) -> None:
        """Start sound and pictures again after a crash, as the user's service manager does."""
        for program in reversed(self.media):
            self.programs.end(program)
        for left in ("pipewire-0", "pipewire-0-manager", "pulse/native"):
            (self.runtime / left).unlink(missing_ok=True)
        self.media = _start_pipewire(self.programs)


@contextlib.contextmanager
def user_session(folder: Path) -> Iterator[UserSession]:
    """Start bus, PipeWire, its session manager and the sound server; end them and all that ran in the session."""
    # The names of sockets are short, whatever pytest calls its folders.
    runtime = Path("/tmp") / f"pf-{os.getpid()}-{folder.name[:24]}"
    home, logs = folder / "home", folder / "logs"
    for made in (home, logs):
        made.mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "XDG_SESSION_TYPE": "wayland"}
    try:
        with Programs(runtime, logs, env) as programs:
            bus = _start_bus(programs)
            session = UserSession(programs, bus, _start_pipewire(programs))
            yield session
    finally:
        # The document portal's file system stays mounted when it is killed, and answers no question any more.
        subprocess.run(["umount", "--lazy", str(runtime / "doc")], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(runtime)


def _start_bus(programs: Programs) -> Program:
    address, tell = os.pipe()
    try:
        argv = ("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--print-address={tell}")
        bus = programs.start("bus", argv, pass_fds=(tell,))
    finally:
        os.close(tell)
    with os.fdopen(address, "rb") as told:
        if not select.select([told], [], [], 30.0)[0]:
            pytest.fail("the session bus does not start")
        programs.env["DBUS_SESSION_BUS_ADDRESS"] = told.readline().decode().strip()
    return bus


def _sinks(programs: Programs) -> list[str]:
    listed = programs.run("pactl", "list", "short", "sinks").splitlines()
    return [name for name in (line.split("\t")[1] for line in listed) if name != "auto_null"]


def _listens(path: Path) -> bool:
    """Return whether somebody listens there, which comes a little after the file."""
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


def _start_pipewire(programs: Programs) -> list[Program]:
    pipewire = programs.start("pipewire", ["pipewire"])
    programs.wait_for(pipewire, (programs.runtime / "pipewire-0").exists, "its socket")
    wireplumber = programs.start("wireplumber", ["wireplumber"])
    sound = programs.start("pipewire-pulse", ["pipewire-pulse"])
    programs.wait_for(sound, lambda: _listens(programs.runtime / "pulse" / "native"), "its socket")
    programs.run("pactl", "load-module", "module-null-sink", f"sink_name={SPEAKERS}")
    # Another may be the default: after a restart somebody's own is there again, perhaps before these.
    eventually(
        lambda: programs.run("pactl", "get-default-sink").strip() in _sinks(programs),
        "the session manager to take a sink as the default",
    )
    return [pipewire, wireplumber, sound]
