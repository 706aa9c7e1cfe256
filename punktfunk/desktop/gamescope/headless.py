"""A gamescope without a screen: started by a session supervisor, ended with it."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from punktfunk.clock import monotonic_ns
from punktfunk.desktop import wayland
from punktfunk.desktop.children import Child, Children
from punktfunk.desktop.gamescope.program import GAMES, last_words, require_gamescope, why_not_started
from punktfunk.desktop.wayland.gamescope import PIPEWIRE
from punktfunk.errors import DesktopError, GamescopeMissingError
from punktfunk.units import Mode

START_LIMIT_S: Final = 30.0
"""It takes a second; with no card on a busy machine more than 15 were seen, and the first time it compiles shaders."""
_EVERY_S: Final = 0.05
_NODE_LIMIT_S: Final = 5.0
_NO_NODE: Final = (0, 0xFFFF_FFFF)
_FOREIGN: Final = (
    *("WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY", "XAUTHORITY", "SWAYSOCK", "I3SOCK", "LIBEI_SOCKET"),
    *("GAMESCOPE_WAYLAND_DISPLAY", "PIPEWIRE_REMOTE"),
)
"""Variables of a session that punktfunk itself was started from."""
_READY: Final = b"\0ready\0"
_MAX_ENVIRONMENT: Final = 1 << 20
_TELL: Final = 'exec 3>"$0"; env -0 >&3; printf "\\0ready\\0" >&3; exec 3>&-; exec sleep infinity'
"""What gamescope runs: it tells the environment that programs get, and stays, for gamescope ends with it."""
_OLD: Final = "gamescope 3.16 or newer, built with libei and PipeWire, is needed"


class HeadlessGamescope:
    """Starts gamescope in one mode, which it keeps; ``start`` returns when programs may be started.

    ``runtime`` is a private folder (mode 0700) that becomes its XDG_RUNTIME_DIR; PipeWire runs there.
    """

    def __init__(self, children: Children, runtime: Path, env: Mapping[str, str]) -> None:
        self._children = children
        self._runtime = runtime
        self._env = {name: value for name, value in env.items() if name not in _FOREIGN}
        self._env["PIPEWIRE_RUNTIME_DIR"] = str(runtime)
        self._env["PATH"] = os.pathsep.join([self._env.get("PATH", os.defpath), GAMES])
        self.app_env: dict[str, str] = {}
        """The environment for programs inside the session, once it has started.

        They are shown X11; who wants Wayland finds its socket in GAMESCOPE_WAYLAND_DISPLAY.
        """
        self._log = runtime / "gamescope.log"

    @property
    def socket(self) -> str:
        """Path of the Wayland socket."""
        return str(self._runtime / self.app_env["GAMESCOPE_WAYLAND_DISPLAY"])

    @property
    def x_display(self) -> str:
        """The X display such as ``:0``."""
        return self.app_env.get("DISPLAY", "")

    @property
    def ei_path(self) -> str:
        """Path of the socket that takes input; raise GamescopeMissingError where there is none."""
        name = self.app_env.get("LIBEI_SOCKET")
        if not name or not (self._runtime / name).exists():
            raise GamescopeMissingError("this gamescope takes no input of other programs", _OLD)
        return str(self._runtime / name)

    def start(self, mode: Mode, *, steam: bool, on_exit: Callable[[Child], None]) -> Child:
        """Start it and wait until it runs programs; ``steam`` has Steam say what is shown.

        Raises GamescopeMissingError, VulkanMissingError or DmaBufMissingError where this machine cannot, and
        DesktopError where it does not come up for another reason.
        """
        program = require_gamescope()
        told = self._runtime / "gamescope-ready"
        os.mkfifo(told, 0o600)
        # For writing, too: so that it has no end before gamescope has opened it.
        ready = os.open(told, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            with self._log.open("wb") as log:
                child = self._children.start(
                    "gamescope",
                    [
                        *(program, "--backend", "headless", "--expose-wayland"),
                        *("-W", str(mode.width), "-H", str(mode.height)),
                        *("-w", str(mode.width), "-h", str(mode.height), "-r", str(mode.refresh_hz)),
                        *(("--steam",) if steam else ()),
                        *("--", "sh", "-c", _TELL, str(told)),
                    ],
                    self._env,
                    output=log,
                )
            self.app_env = self._await_ready(ready, child)
        finally:
            os.close(ready)
            told.unlink()
        child.on_exit = on_exit
        return child

    def node(self) -> int:
        """Return the number of the PipeWire node that has the pictures.

        Raises GamescopeMissingError where it gives none, DesktopError where it does not answer.
        """
        nodes: list[int] = []
        with wayland.connect(self.socket) as connection:
            if not connection.offers(PIPEWIRE):
                raise GamescopeMissingError("this gamescope gives its pictures to nobody", _OLD)
            # Held: what tells is collected with its proxy.
            telling: Any = connection.bind(PIPEWIRE, 1)
            telling.dispatcher["stream_node"] = lambda _proxy, node: nodes.append(node)
            deadline = monotonic_ns() + round(_NODE_LIMIT_S * 1e9)
            connection.round_trip()
            while not nodes and (left := deadline - monotonic_ns()) > 0:
                connection.dispatch(left / 1e9)
        if not nodes or nodes[-1] in _NO_NODE:
            raise GamescopeMissingError("this gamescope gives no node of PipeWire", _OLD)
        return nodes[-1]

    def last_words(self) -> str:
        """Return the end of gamescope's log."""
        return last_words(self._read_log())

    def _read_log(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except OSError:
            return ""

    def _await_ready(self, ready: int, child: Child) -> dict[str, str]:
        """Read what gamescope's own first program tells: its environment."""
        deadline = monotonic_ns() + round(START_LIMIT_S * 1e9)
        text = b""
        while not text.endswith(_READY):
            if select.select([ready], [], [], _EVERY_S)[0]:
                text += os.read(ready, 1 << 16)
                if len(text) > _MAX_ENVIRONMENT:
                    raise DesktopError("gamescope's environment is too long")
            elif self._children.gone([child], 0.0):
                raise why_not_started(self._read_log())
            elif monotonic_ns() > deadline:
                raise DesktopError(
                    f"gamescope was not ready within {START_LIMIT_S:.0f} s: {self.last_words()}",
                    "is the machine very busy? Try again",
                )
        variables = [each.partition(b"=") for each in text.removesuffix(_READY).split(b"\0")]
        env = {os.fsdecode(name): os.fsdecode(value) for name, is_set, value in variables if is_set}
        env.pop("WAYLAND_DISPLAY", None)
        if "GAMESCOPE_WAYLAND_DISPLAY" not in env:
            raise GamescopeMissingError("this gamescope does not name its display", _OLD)
        return env
