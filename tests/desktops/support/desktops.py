"""The desktops that are streamed here: a compositor, the back end that is asked for, and what it can."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from punktfunk.desktop import BackendName
from punktfunk.desktop.app_id import APP_ID
from tests.desktops.support.compositors import Compositor, KWin, Labwc, Mutter, Sway
from tests.desktops.support.portals import GnomePerson, Portals, allow_on_plasma, write_application
from tests.desktops.support.session import UserSession, user_session
from tests.desktops.support.udmabuf import gamescope_in
from tests.support.waiting import eventually

_TESTING: Final = os.environ.get("PUNKTFUNK_DESKTOPS") == "testing"
"""Whether KWin is new enough to make an output on its virtual backend."""
_WINDOW: Final = Path(__file__).with_name("window.py")


@dataclass(frozen=True, slots=True)
class Kind:
    """A desktop that can be streamed."""

    name: str
    backend: BackendName
    compositor: type[Compositor] | None
    """What the user runs; None: the host brings its own."""
    own_output: bool
    """Whether each stream gets an output of its own, of the size that the client wants."""
    moves_windows: bool = False
    """Whether another mode takes the output away for a moment, so that its windows go to another one."""
    grant: tuple[str, ...] = ()
    """What the user asks ``punktfunk`` once before the first stream."""
    prepare: Callable[[Compositor], None] | None = None
    """What the user has set up, of a desktop that is streamed by its portal."""
    asks: bool = False
    """Whether its portal asks the user, the first time."""
    text: str = "Hello, World? 42;x"
    """What is typed into the test window."""
    path: Callable[[Path], str] | None = None
    """What makes programs of the rig in a folder, and returns what comes first in PATH."""


def _as_a_program(compositor: Compositor) -> None:
    write_application(compositor.session.home, APP_ID)


def _allowed(compositor: Compositor) -> None:
    _as_a_program(compositor)
    allow_on_plasma(compositor, APP_ID)


_GAMESCOPE: Final = Kind(
    "gamescope",
    BackendName.GAMESCOPE,
    None,
    own_output=False,
    # Programs of Wayland, as the test window is, are not told of Shift there; those of X11 are (test_gamescope.py).
    text="hello, world. 42;x",
    path=gamescope_in,
)
KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("sway", BackendName.WLROOTS, Sway, own_output=True),
        Kind("labwc", BackendName.WLROOTS, Labwc, own_output=False),
        Kind("headless-sway", BackendName.HEADLESS_SWAY, None, own_output=True),
        Kind("kwin", BackendName.KWIN, KWin, own_output=_TESTING, grant=("desktop", "grant", "kwin")),
        Kind("mutter", BackendName.MUTTER, Mutter, own_output=True, moves_windows=True),
        Kind("portal-kde", BackendName.PORTAL, KWin, own_output=False, prepare=_allowed),
        Kind("portal-gnome", BackendName.PORTAL, Mutter, own_output=False, prepare=_as_a_program, asks=True),
        # In testing alone. An output of its client's size, which a change of mode leaves as it is.
        *((_GAMESCOPE,) if _TESTING else ()),
    )
}


class Window:
    """The test window in a desktop, and what it tells."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the events of those names so far, of all without one."""
        if not self._log.exists():
            return []
        text = self._log.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        told = [json.loads(line) for line in whole.splitlines() if line.startswith('{"event"')]
        return [event for event in told if not names or event["event"] in names]

    @property
    def typed(self) -> str:
        """What the keys that went down have typed."""
        return "".join(event["text"] for event in self.events("key") if event["down"])

    @property
    def held(self) -> set[int]:
        """Evdev codes of the keys that are down."""
        down: set[int] = set()
        for event in self.events("key", "keyboard_leave"):
            if event["event"] == "keyboard_leave":
                down.clear()
            else:
                (down.add if event["down"] else down.discard)(event["code"])
        return down

    @property
    def pointer(self) -> tuple[float, float] | None:
        """Where the pointer is, pixels of the window."""
        places = self.events("pointer_enter", "pointer_motion")
        if not places:
            return None
        x, y = places[-1]["values"][-2:]
        return x, y

    @property
    def size(self) -> tuple[int, int] | None:
        """Its size, once it has drawn."""
        ready = self.events("ready")
        return (ready[-1]["width"], ready[-1]["height"]) if ready else None


class StreamedDesktop:
    """A desktop of one kind in a session of its own, as the host finds it."""

    def __init__(self, kind: Kind, session: UserSession, folder: Path) -> None:
        self.kind, self.session, self._folder = kind, session, folder
        self._windows, self._asked = 0, False
        self.window_options: tuple[str, ...] = ()
        """Further options of the test window as :attr:`command` has it."""
        self.other_command: tuple[str, ...] = ()
        """What a desktop of the host's own runs in place of the test window."""
        self.compositor = None if kind.compositor is None else kind.compositor(session)
        self.portals: Portals | None = None
        if kind.path is not None:
            session.env["PATH"] = f"{kind.path(session.home / 'bin')}:{session.env['PATH']}"
        if kind.prepare is not None:
            assert self.compositor is not None
            self.portals = Portals(self.compositor)
            kind.prepare(self.compositor)
        if kind.grant:
            session.programs.run(sys.executable, "-m", "punktfunk", *kind.grant, timeout_s=60.0)

    @property
    def options(self) -> tuple[str, ...]:
        """What ``punktfunk serve`` is asked for."""
        # Hosts of one desktop have one state: what a portal has granted is kept there.
        return ("--desktop", self.kind.backend.value, "--state-dir", str(self._folder / "state"))

    @property
    def program(self) -> str | None:
        """What a desktop of the host's own runs: the test window, which a running one gets by :meth:`show`."""
        if self.compositor is not None:
            return None
        return shlex.join(self.command)

    @property
    def command(self) -> tuple[str, ...]:
        """The argument list of the test window, with what it tells in a file."""
        window = self._command(*self.window_options)
        return self.other_command or ("sh", "-c", f"exec {shlex.join(window)} >>{self._log()}")

    @contextlib.contextmanager
    def answered(self) -> Iterator[None]:
        """Have the user's question answered while this lasts, the first time; other desktops ask none."""
        if not self.kind.asks or self._asked:
            yield
            return
        self._asked = True
        assert self.compositor is not None
        with GnomePerson(self.compositor) as person, ThreadPoolExecutor(1) as beside:
            answer = beside.submit(person.share, "monitor")
            yield
            answer.result()

    def crash(self) -> None:
        """Kill the compositor and start all again that the user's session would."""
        assert self.compositor is not None
        self.compositor.again()
        if self.portals is not None:
            self.portals.again()

    def show(self, *options: str) -> Window:
        """Open the test window on the newest output, once; return what it tells."""
        if self.compositor is not None:
            self._windows += 1
            with self._log().open("wb") as log:
                self.session.programs.start("window", self._command(*options), stdout=log)
        return Window(self._log())

    def state(self) -> dict[str, object]:
        """Return what a stream may leave behind: outputs, nodes of PipeWire, sinks and the sound of the speakers."""
        found: dict[str, object] = {"nodes": self.session.nodes(), "sound": self.session.sound()}
        if self.compositor is not None and self.compositor.program.running:
            found["outputs"] = self.compositor.outputs()
        return found

    def is_as(self, before: dict[str, object]) -> None:
        """Wait until the desktop is as it was before a stream; what has not gone by then is left behind."""
        last: list[dict[str, object]] = []

        def same() -> bool:
            last[:] = [self.state()]
            return last[0] == before

        try:
            eventually(same, "the desktop to be as before", 10.0)
        except BaseException as error:
            error.add_note(f"before: {before}\nafter:  {last}")
            raise

    def _command(self, *options: str) -> list[str]:
        return [sys.executable, str(_WINDOW), "--output", "newest", *options]

    def _log(self) -> Path:
        return self._folder / f"window-{self._windows}.jsonl"


@contextlib.contextmanager
def streamed_desktop(name: str, folder: Path) -> Iterator[StreamedDesktop]:
    """Bring up a desktop by its name in :data:`KINDS`; it ends with all that runs in it."""
    with user_session(folder / name) as session:
        desktop = StreamedDesktop(KINDS[name], session, folder)
        try:
            yield desktop
        finally:
            if desktop.portals is not None:
                desktop.portals.end()
