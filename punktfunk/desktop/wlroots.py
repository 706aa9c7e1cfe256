"""A running session of a wlroots compositor: one of its outputs is streamed as it is, or one that is made for it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from punktfunk import log
from punktfunk.desktop import Availability, BackendName, DesktopOptions, DesktopOutput, wayland
from punktfunk.desktop.capture import CursorPlace, WlrScreen
from punktfunk.desktop.inject.input_thread import InputThread
from punktfunk.desktop.inject.keymap import Keyboard
from punktfunk.desktop.touch import TouchInjector
from punktfunk.desktop.touch.sway import map_touch, open_touch
from punktfunk.desktop.user_session import UserSession, session_socket
from punktfunk.desktop.vdisplay import VirtualOutput
from punktfunk.desktop.vdisplay.sway import SwayDisplay
from punktfunk.desktop.vdisplay.sway_ipc import SwayIpc, ipc_path_of
from punktfunk.errors import CapabilityError, DesktopError, PunktfunkError, SessionClosedError
from punktfunk.input import InputEvent
from punktfunk.units import Mode

if TYPE_CHECKING:
    from punktfunk.desktop.inject.wlr import WlrInjector
    from punktfunk.desktop.wayland.connection import Connection

_INPUT: Final = (("zwlr_virtual_pointer_manager_v1", 2), ("zwp_virtual_keyboard_manager_v1", 1))
_CAPTURE: Final = (
    (("ext_image_copy_capture_manager_v1", 1), ("ext_output_image_capture_source_manager_v1", 1)),
    (("zwlr_screencopy_manager_v1", 3),),
)
"""Ways of which one will do."""
_OTHER_DESKTOPS: Final = "run sway or another wlroots compositor, or choose with --desktop"


class WlrootsDesktop(UserSession):
    """The user's own session; see :class:`punktfunk.desktop.Desktop`.

    Its virtual pointer and keyboard are there while this object is. Where the compositor has ended, the next
    ``provide`` looks for one that was started since.

    ``display`` is the compositor's socket and ``ipc_path`` sway's, if it is sway; both default to what the
    environment says. With ``own_output`` each stream gets an output of its own, of its size, that goes when the
    stream does; without, it gets the focused one, scaled. ``None`` makes outputs where the compositor can take them
    away again, which is sway 1.8 and newer. Absolute positions count on the (oldest) output that is streamed.

    wlroots 0.15 can crash when the last pointer of a seat goes; a desktop without a mouse should therefore be
    left by ending its compositor, or be a headless session of punktfunk's own.
    """

    def __init__(
        self,
        options: DesktopOptions | None = None,
        *,
        display: str | None = None,
        ipc_path: str | None = None,
        own_output: bool | None = None,
    ) -> None:
        """Attach; raise CapabilityError where the compositor lacks what is needed, DesktopError for none."""
        self._options = options or DesktopOptions()
        self.socket = session_socket(display)
        super().__init__(self._options, display=self.socket)
        self._asked_ipc_path, self._asked_own_output = ipc_path, own_output
        self._keyboard = Keyboard(self._options.keyboard_layout, self._options.keyboard_variant)
        self._connection: Connection
        self._injector: WlrInjector
        self._virtual: SwayDisplay | None
        self._touch: TouchInjector | None = None
        self._touch_counters: Counter[str] = Counter()
        self._tells_cursor = False
        self._separated: Counter[str] = Counter()
        """Streams that have the pointer of an output beside its pictures, by its name. wlroots paints it for none of
        the captures of an output, if it does not for the first."""
        self._attach()
        self._input = InputThread(self._put_in)

    @property
    def description(self) -> str:
        """Says whether the user's own outputs are shown."""
        return "this desktop, on an output of its own" if self._own_output else "this desktop"

    @property
    def tells_cursor(self) -> bool:
        """Whether the compositor tells its pointer beside copies of its outputs, as wlroots 0.20 does."""
        return self._tells_cursor

    @property
    def takes_touch(self) -> bool:
        """Whether sway reads the touch screen and the pen that were made for it; no longer, once they have failed."""
        return self._touch is not None

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs that there are."""
        with self._lock:
            return [output.name for output in self._connection.outputs]

    def provide(self, mode: Mode, *, scale: float = 1.0, separate_cursor: bool = False) -> DesktopOutput:
        """Return an output made for the stream, or the one that was focused."""
        with self._lock:
            self._attach_again()
            with self._noting_failure():
                if not self._own_output:
                    name = self._focused_at_first()
                    return self._provided(name, mode, self._place_of_cursor(name, separate_cursor))
                if self._virtual is None:
                    if self._ipc_path is None:
                        raise CapabilityError("only sway can make an output", "stream one that there is")
                    self._virtual = SwayDisplay(self._ipc_path, self.socket)
                first = not self._virtual.outputs
                output = self._virtual.create(mode, scale=scale)
                try:
                    if first:
                        self._point_at(output.name)
                        self._virtual.focus(output.name)
                except BaseException:
                    # Nobody would give it back.
                    with contextlib.suppress(PunktfunkError):
                        self._virtual.remove(output)
                    raise
                return self._provided(output.name, mode, self._place_of_cursor(output.name, separate_cursor))

    def change(self, output: DesktopOutput, mode: Mode) -> DesktopOutput:
        """Give an output of its own another mode; one of the user's stays as it is and is scaled."""
        with self._in_use():
            if self._virtual is not None:
                self._virtual.change(VirtualOutput(output.name, output.mode), mode)
            return self._provided(output.name, mode, _cursor_of(output))

    def give_back(self, output: DesktopOutput) -> None:
        """Take an output away that was made for a stream; one of the user's stays."""
        with self._lock:
            if _cursor_of(output) == "metadata" and self._separated[output.name]:
                self._separated[output.name] -= 1
            virtual = self._virtual
            if virtual is None or self._closed:
                return
            made = [each.name for each in virtual.outputs]
            if output.name not in made:
                return  # it went with a compositor that has ended
            if self._failure is not None:
                # sway may be there all the same: it has ended this connection alone, or was only busy.
                with contextlib.suppress(DesktopError):
                    virtual.remove(VirtualOutput(output.name, output.mode))
                return
            with self._noting_failure():
                try:
                    if output.name == self._pointed_at:
                        # Positions count on what is left, before what they have counted on goes.
                        others = [name for name in made if name != output.name] or self._users_outputs(made)
                        if others:
                            self._point_at(others[0])
                            virtual.focus(others[0])
                finally:
                    virtual.remove(VirtualOutput(output.name, output.mode))

    def inject(self, event: InputEvent) -> None:
        """Have one input event put in, without waiting; raise DesktopError when the compositor has gone, or hangs."""
        self._require_life()
        self._input.inject(event)

    def release_all(self) -> dict[str, int]:
        """Let go of every key and button, once all input has been put in; return the injector's counters."""
        self._input.settle()
        with self._in_use():
            if self._touch is not None:
                try:
                    self._touch.release_all()
                except PunktfunkError as error:
                    self._lose_touch(error)
            self._injector.release_all()
            return dict(self._touch_counters + Counter(self._injector.counters))

    def close(self) -> None:
        """Release all, take outputs made here away and disconnect."""
        self._input.close()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._detach()
            except DesktopError as error:
                self._failure = error
        super().close()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Hold the desktop; raise DesktopError where its compositor has ended, and take note where it just has."""
        with self._lock:
            self._require_life()
            with self._noting_failure():
                yield

    def _require_life(self) -> None:
        if self._closed:
            raise SessionClosedError("the desktop is closed")
        if self._failure is not None:
            raise DesktopError(self._failure.cause, self._failure.hint)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except DesktopError:
            # It may have refused something, and be there all the same.
            try:
                self._connection.round_trip()
            except DesktopError as gone:
                self._failure = gone
            raise

    def _attach(self) -> None:
        self._ipc_path = self._asked_ipc_path or ipc_path_of(self.socket)
        self._virtual = None
        self._connection = wayland.connect(self.socket)
        try:
            require_wlroots(self._connection)
            self._output = self._pointed_at = self._focused()
            asked = self._asked_own_output
            self._own_output = self._can_remove_outputs() if asked is None else asked
            self._injector = self._make_injector(self._output)
            self._tells_cursor = self._asks_for_cursor(self._output)
            self._separated.clear()
            self._open_touch()
        except BaseException:
            self._unplug_touch()
            self._connection.close()
            raise

    def _detach(self) -> None:
        self._unplug_touch()
        try:
            if self._failure is None:
                self._injector.close()
            if self._virtual is not None:
                self._virtual.close()
        finally:
            self._connection.close()

    def _attach_again(self) -> None:
        """Attach to a compositor that was started since the former one has ended; raise DesktopError for none."""
        if self._failure is None:
            try:
                self._connection.round_trip()
            except DesktopError as error:
                self._failure = error
        if self._failure is None or self._closed:
            return
        with contextlib.suppress(DesktopError):
            self._detach()
        self._attach()
        self._failure = None
        self._input.forget_failure()
        log.get("desktop").info("desktop attached again", display=self.socket)

    def _asks_for_cursor(self, output: str) -> bool:
        """Ask whether the pointer is told beside pictures: of any output made here, or else of that one."""
        from punktfunk.desktop.wayland.capture_session import is_offered, tells_cursor

        if self._own_output:
            return is_offered(self._connection)
        return tells_cursor(self._connection, self._connection.output(output))

    def _place_of_cursor(self, name: str, separate: bool) -> CursorPlace:
        """Return where a stream has the pointer of an output: beside the pictures, if another one has it there."""
        if (separate and self._tells_cursor) or self._separated[name]:
            self._separated[name] += 1
            return "metadata"
        return "embedded"

    def _provided(self, name: str, mode: Mode, cursor: CursorPlace) -> DesktopOutput:
        return DesktopOutput(name, mode, WlrScreen(display=self.socket, output=name, cursor=cursor))

    def _users_outputs(self, made: Collection[str] = ()) -> list[str]:
        """Return the outputs that were not made here, the one that was focused at first before the others."""
        self._connection.round_trip()
        names = [each.name for each in self._connection.outputs if each.name and each.name not in made]
        return sorted(names, key=lambda name: name != self._output)

    def _focused_at_first(self) -> str:
        """Return the output that was focused at first, or where that has gone another one, which input goes to then."""
        names = self._users_outputs()
        if not names:
            raise DesktopError("the desktop has no output", "switch one on")
        if names[0] != self._output:
            self._output = names[0]
            self._point_at(self._output)
        return self._output

    def _can_remove_outputs(self) -> bool:
        if self._ipc_path is None:
            return False
        with SwayDisplay(self._ipc_path, self.socket) as display:
            return display.can_remove

    def _make_injector(self, output: str) -> WlrInjector:
        from punktfunk.desktop.inject.wlr import WlrInjector

        return WlrInjector(self._connection, self._keyboard, output=output)

    def _point_at(self, output: str) -> None:
        """Have absolute positions, fingers and pens count on an output."""
        self._injector.aim(output)
        self._pointed_at = output
        self._map_touch()

    def _open_touch(self) -> None:
        try:
            self._touch = open_touch(self._ipc_path)
        except PunktfunkError as error:
            self._lose_touch(error)
        if not self._own_output:
            self._map_touch()

    def _map_touch(self) -> None:
        """Have fingers and pens touch where absolute positions count, too."""
        if self._touch is not None and self._ipc_path is not None:
            try:
                map_touch(self._ipc_path, self._pointed_at)
            except PunktfunkError as error:
                self._lose_touch(error)

    def _put_in(self, event: InputEvent) -> None:
        """Put an event in. Runs in the thread of the input, which may wait for an output, or for a sway that hangs."""
        with self._in_use():
            self._connection.dispatch(0)
            if not self._touched(event):
                self._injector.inject(event)

    def _touched(self, event: InputEvent) -> bool:
        """Put an event of a finger or a pen into its device; ``False``: it is the pointer's, or the keyboard's."""
        if self._touch is None or not self._touch.takes(event):
            return False
        try:
            reason = self._touch.inject(event)
        except PunktfunkError as error:
            self._lose_touch(error)
            return False
        self._touch_counters["touched" if reason is None else f"dropped_{reason}"] += 1
        return True

    def _lose_touch(self, error: PunktfunkError) -> None:
        """Go on without touch screen and pen: the pointer does for them, and the desktop needs neither."""
        self._unplug_touch()
        logger = log.get("desktop")
        say = logger.info if isinstance(error, CapabilityError) else logger.warning
        say("fingers and pens move the pointer", cause=error.cause, hint=error.hint)

    def _unplug_touch(self) -> None:
        touch, self._touch = self._touch, None
        if touch is not None:
            touch.close()

    def _focused(self) -> str:
        if self._ipc_path is not None:
            with SwayIpc(self._ipc_path) as ipc:
                for name, output in ipc.outputs().items():
                    if output.get("focused"):
                        return name
        outputs = self._connection.outputs
        if not outputs:
            raise DesktopError("the desktop has no output", "switch one on")
        return outputs[0].name


def _cursor_of(output: DesktopOutput) -> CursorPlace:
    return output.screen.cursor if isinstance(output.screen, WlrScreen) else "embedded"


def examine() -> Availability:
    """Return whether a wlroots session runs here; connects to it, and leaves it as it is."""
    name = BackendName.WLROOTS
    try:
        socket = session_socket()
    except CapabilityError as error:
        return Availability(name, False, error.cause, error.hint, absent=True)
    try:
        with wayland.connect(socket) as connection:
            if missing := _missing(connection):
                reason = f"the session that runs here is of another kind: it lacks {', '.join(missing)}"
                return Availability(name, False, reason, _OTHER_DESKTOPS, absent=True)
            outputs = ", ".join(output.name for output in connection.outputs) or "no output"
    except PunktfunkError as error:
        return Availability(name, False, error.cause, error.hint)
    return Availability(name, True, f"a wlroots session runs here, with {outputs}")


def _missing(connection: Connection) -> list[str]:
    missing = [name for name, version in _INPUT if not connection.offers(name, version)]
    if not any(all(connection.offers(*each) for each in way) for way in _CAPTURE):
        missing.append(_CAPTURE[0][0][0])
    return missing


def require_wlroots(connection: Connection) -> None:
    """Raise CapabilityError unless the compositor offers capture and virtual input."""
    if missing := _missing(connection):
        raise CapabilityError(
            f"this compositor cannot be streamed: it lacks {', '.join(missing)}", _OTHER_DESKTOPS
        )
