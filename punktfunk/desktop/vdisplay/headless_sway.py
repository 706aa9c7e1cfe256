"""A sway of our own, without a screen: started by a session supervisor, ended with it."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from punktfunk.desktop.children import Child, Children
from punktfunk.errors import CapabilityError, DesktopError

START_LIMIT_S: Final = 8.0
_LOG_LINES: Final = 3
_FOREIGN: Final = ("WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY", "SWAYSOCK", "I3SOCK", "XAUTHORITY")
"""Variables of a session that punktfunk itself was started from."""

_CONFIG: Final = """\
xwayland {xwayland}
default_border none
default_floating_border none
swaynag_command -
swaybg_command -
exec printf '%s\\n%s\\n' "$WAYLAND_DISPLAY" "$DISPLAY" >&{ready}
"""


class HeadlessSway:
    """Starts sway on the headless back end, without any output; ``start`` returns when it answers.

    ``runtime`` is a private folder (mode 0700) that becomes its XDG_RUNTIME_DIR.
    """

    def __init__(self, children: Children, runtime: Path, env: Mapping[str, str]) -> None:
        self._children = children
        self._runtime = runtime
        self._env = {name: value for name, value in env.items() if name not in _FOREIGN}
        self.ipc_path = str(runtime / "sway.sock")
        self.socket = ""
        """Path of the Wayland socket, once started."""
        self.x_display = ""
        """The X display such as ``:0``, or nothing where there is no Xwayland."""
        self._log = runtime / "sway.log"

    @property
    def app_env(self) -> dict[str, str]:
        """The environment for programs inside the session."""
        env = {
            **self._env,
            "WAYLAND_DISPLAY": self.socket,
            "SWAYSOCK": self.ipc_path,
            "XDG_SESSION_TYPE": "wayland",
            "XDG_CURRENT_DESKTOP": "sway",
        }
        if self.x_display:
            env["DISPLAY"] = self.x_display
        return env

    def start(self, *, xwayland: bool, on_exit: Callable[[Child], None]) -> Child:
        """Start it and wait until it answers.

        Raises CapabilityError where sway is missing and DesktopError where it does not come up.
        """
        require_sway()
        ready, ready_for_sway = os.pipe()
        try:
            config = self._runtime / "sway.conf"
            wanted = "enable" if xwayland and shutil.which("Xwayland") else "disable"
            config.write_text(_CONFIG.format(xwayland=wanted, ready=ready_for_sway))
            with self._log.open("wb") as log:
                child = self._children.start(
                    "sway",
                    ["sway", "--unsupported-gpu", "-c", str(config)],
                    self._sway_env(),
                    output=log,
                    pass_fds=[ready_for_sway],
                    on_exit=on_exit,
                )
            os.close(ready_for_sway)
            ready_for_sway = -1
            wayland, self.x_display = self._await_ready(ready)
        finally:
            os.close(ready)
            if ready_for_sway >= 0:
                os.close(ready_for_sway)
        self.socket = str(self._runtime / wayland)
        return child

    def last_words(self) -> str:
        """Return the end of sway's log."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return " / ".join(line.strip() for line in lines[-_LOG_LINES:])

    def _sway_env(self) -> dict[str, str]:
        env = {
            **self._env,
            "SWAYSOCK": self.ipc_path,  # sway makes its socket there when nothing stands in the way
            "WLR_BACKENDS": "headless",
            "WLR_HEADLESS_OUTPUTS": "0",
            "WLR_LIBINPUT_NO_DEVICES": "1",
        }
        if not any(Path("/dev/dri").glob("renderD*")):
            env["WLR_RENDERER"] = "pixman"
        return env

    def _await_ready(self, ready: int) -> tuple[str, str]:
        """Read what sway's own first command prints: the names of its displays."""
        text = b""
        while text.count(b"\n") < 2:
            readable, _, _ = select.select([ready], [], [], START_LIMIT_S)
            part = os.read(ready, 256) if readable else b""
            if not part:
                raise DesktopError(
                    f"sway did not come up: {self.last_words() or 'it said nothing'}",
                    "run `sway --version` and see whether it starts for this user",
                )
            text += part
        wayland, x_display = text.decode().split("\n")[:2]
        return wayland, x_display


def require_sway() -> None:
    """Raise CapabilityError unless sway is installed."""
    if shutil.which("sway") is None:
        raise CapabilityError(
            "sway is not installed", "apt-get install sway (or your distribution's package)"
        )
