"""One connection to a compositor: its globals, its outputs, and dispatching that never waits for ever."""

from __future__ import annotations

import atexit
import collections
import contextlib
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from pywayland import protocol
from pywayland.client.display import Display
from pywayland.protocol.wayland import WlOutput
from pywayland.protocol_core.interface import Interface

from punktfunk.clock import monotonic_ns
from punktfunk.desktop.wayland import gamescope, kde, wlr
from punktfunk.errors import CapabilityError, DesktopError

ROUND_TRIP_LIMIT_S: Final = 5.0
"""A compositor that has not answered by then is taken for hung."""

_ROUND_TRIPS: Final = 2
"""An output that was made while this connection began is announced in one, and says its name in another."""

_open: set[Connection] = set()
"""Held until they are closed: garbage collection frees a display before its proxies, which crash on what is left."""

_KEPT_GONE: Final = 16
"""Of outputs that have gone: whoever streamed one may name it for a while."""
_FEW: Final = 64


class _Proxies(set[Any]):
    """The proxies of a display, held until they are destroyed, where pywayland holds them weakly.

    Python's collector would free those that nobody holds in any thread, and while it does so another thread may free
    the display: the process crashes then. What is destroyed is let go of from time to time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._most = _FEW

    def add(self, proxy: Any, /) -> None:
        if len(self) >= self._most:
            self.difference_update([each for each in self if each.destroyed])
            self._most = max(_FEW, 2 * len(self))
        super().add(proxy)


@dataclass(frozen=True, slots=True)
class Global:
    """Something that the compositor offers: its number in the registry, and the version it speaks."""

    number: int
    version: int


class Output:
    """One output as the compositor describes it; fields hold after the round trip that follows binding."""

    def __init__(self, number: int, proxy: Any) -> None:
        self.number = number
        self.proxy = proxy
        self.name = ""
        self.x = self.y = 0
        self.transform = 0
        """How it is turned and mirrored, as wl_output counts; 0 is upright."""
        self.width = self.height = 0
        """Current mode, pixels; 0 until the compositor has told."""
        self.refresh_mhz = 0
        proxy.dispatcher["name"] = self._name
        proxy.dispatcher["geometry"] = self._geometry
        proxy.dispatcher["mode"] = self._mode

    def _name(self, _proxy: Any, name: str) -> None:
        self.name = name

    def _geometry(self, _proxy: Any, x: int, y: int, *rest: Any) -> None:
        self.x, self.y = x, y
        self.transform = rest[-1]

    def _mode(self, _proxy: Any, flags: int, width: int, height: int, refresh_mhz: int) -> None:
        if flags & WlOutput.mode.current:
            self.width, self.height, self.refresh_mhz = width, height, refresh_mhz


class Connection:
    """A client of one compositor. Not safe for use by two threads at once.

    Must be closed before the interpreter ends: libwayland's objects are not to be collected after their
    display. Whatever is still open then is closed by an exit handler.
    """

    def __init__(self, display: str | int) -> None:
        """Connect to a socket by its path or name, or take over one that is connected, by its descriptor."""
        self._display = Display(display)
        self._display._children = _Proxies()  # type: ignore[assignment]  # a set is enough for what is asked of it
        try:
            self._display.connect()
        except ValueError as error:
            place = display if isinstance(display, str) else "the socket that was passed on"
            raise DesktopError(
                f"no compositor answers on {place}", "start one, or let punktfunk start a headless sway"
            ) from error
        _open.add(self)
        self._globals: dict[str, list[Global]] = {}
        self._outputs: dict[int, Output] = {}
        self._gone: collections.deque[Output] = collections.deque()
        self.on_output_gone: Callable[[Output], None] = _ignore
        self._registry: Any = self._display.get_registry()
        self._registry.dispatcher["global"] = self._announced
        self._registry.dispatcher["global_remove"] = self._removed
        try:
            self.round_trip()
            self.round_trip()  # the outputs, bound in the first one, have described themselves now
        except BaseException:
            self.close()
            raise

    @property
    def outputs(self) -> list[Output]:
        """The outputs there are now, oldest first."""
        return list(self._outputs.values())

    def output(self, name: str) -> Output:
        """Return the output of that name; raise DesktopError where there is none."""
        for asked in range(_ROUND_TRIPS + 1):
            for output in self._outputs.values():
                if output.name == name:
                    return output
            if asked < _ROUND_TRIPS:
                self.round_trip()
        names = ", ".join(output.name for output in self._outputs.values()) or "none"
        raise DesktopError(f"the compositor has no output {name!r}", f"it has: {names}")

    def fileno(self) -> int:
        """Return the descriptor, for an event loop."""
        return self._display.get_fd()

    def offers(self, interface: str, version: int = 1) -> bool:
        """Return whether the compositor has a global of that interface in at least that version."""
        return any(each.version >= version for each in self._globals.get(interface, ()))

    def version_of(self, interface: str) -> int:
        """Return the newest version in which the compositor has a global of that interface; 0 for none."""
        return max((each.version for each in self._globals.get(interface, ())), default=0)

    def bind(self, interface: str, version: int) -> Any:
        """Bind the global of that interface in exactly ``version``.

        Raises CapabilityError where the compositor lacks it or speaks only an older version.
        """
        for each in self._globals.get(interface, ()):
            if each.version >= version:
                return self._registry.bind(each.number, _interface(interface), version)
        raise CapabilityError(
            f"the compositor does not offer {interface} version {version}",
            "use a compositor that has it, such as sway 1.7 or newer",
        )

    def bind_all(self, interface: str, newest: int) -> list[Any]:
        """Bind every global of that interface, each in its version or in ``newest``, whichever is older."""
        made = _interface(interface)
        offered = self._globals.get(interface, ())
        return [self._registry.bind(each.number, made, min(newest, each.version)) for each in offered]

    def adopt(self, proxy: Any) -> Any:
        """Return an object that came with an event, as one of this connection's.

        pywayland takes such objects for those of any connection that is open, and frees them with that one.
        """
        former = proxy._display
        if former is not self._display:
            former._children.discard(proxy)
            self._display._children.add(proxy)
            proxy._display = self._display
        return proxy

    def flush(self) -> None:
        """Send what has been asked for; raise DesktopError when the compositor is gone or does not read."""
        for _ in range(2):
            if self._display.flush() >= 0:
                return
            # Full socket or a dead peer: libwayland keeps what is left, and poll tells which.
            _, writable, _ = select.select([], [self.fileno()], [], ROUND_TRIP_LIMIT_S)
            if not writable:
                break
        raise DesktopError("the compositor does not take requests any more")

    def dispatch(self, timeout_s: float) -> bool:
        """Run the handlers of events that are there or come within ``timeout_s``; return whether any ran.

        Raises DesktopError when the compositor is gone or has refused a request.
        """
        try:
            if self._display.dispatch(block=False):
                return True
            self.flush()
            poller = select.poll()
            poller.register(self.fileno(), select.POLLIN)
            if not poller.poll(max(0.0, timeout_s * 1000)):
                return False
            self._display.read()
            return self._display.dispatch(block=False) > 0
        except RuntimeError as error:
            raise DesktopError("the compositor has gone, or refused a request") from error

    def round_trip(self) -> None:
        """Wait until the compositor has handled all requests so far, at most ROUND_TRIP_LIMIT_S."""
        done = False

        def answered(_callback: Any, _serial: int) -> None:
            nonlocal done
            done = True

        callback = self._display.sync()
        callback.dispatcher["done"] = answered
        deadline = monotonic_ns() + round(ROUND_TRIP_LIMIT_S * 1e9)
        while not done:
            left = (deadline - monotonic_ns()) / 1e9
            if left <= 0:
                raise DesktopError("the compositor does not answer")
            self.dispatch(left)
        callback.destroy()

    def close(self) -> None:
        """Disconnect; every proxy of this connection is dead afterwards. Closing twice is harmless."""
        self._display.disconnect()
        self._display._children.clear()
        self._outputs.clear()
        self._gone.clear()
        _open.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _announced(self, registry: Any, number: int, interface: str, version: int) -> None:
        self._globals.setdefault(interface, []).append(Global(number, version))
        if interface == WlOutput.name:
            proxy = registry.bind(number, WlOutput, min(version, WlOutput.version))
            self._outputs[number] = Output(number, proxy)

    def _removed(self, _registry: Any, number: int) -> None:
        for offered in self._globals.values():
            offered[:] = [each for each in offered if each.number != number]
        output = self._outputs.pop(number, None)
        if output is not None:
            self._gone.append(output)
            if len(self._gone) > _KEPT_GONE:
                self._gone.popleft().proxy.destroy()
            self.on_output_gone(output)


def _interface(name: str) -> type[Interface]:
    for declared in (wlr.INTERFACES, kde.INTERFACES, gamescope.INTERFACES):
        if name in declared:
            return declared[name]
    import importlib

    module, attribute = _STABLE[name]
    found: type[Interface] = getattr(importlib.import_module(f"{protocol.__name__}.{module}"), attribute)
    return found


_STABLE: Final = {
    "ext_idle_notifier_v1": ("ext_idle_notify_v1", "ExtIdleNotifierV1"),
    "zwp_idle_inhibit_manager_v1": ("idle_inhibit_unstable_v1", "ZwpIdleInhibitManagerV1"),
    "ext_image_copy_capture_manager_v1": ("ext_image_copy_capture_v1", "ExtImageCopyCaptureManagerV1"),
    "ext_output_image_capture_source_manager_v1": (
        "ext_image_capture_source_v1",
        "ExtOutputImageCaptureSourceManagerV1",
    ),
    "wl_compositor": ("wayland", "WlCompositor"),
    "wl_seat": ("wayland", "WlSeat"),
    "wl_shm": ("wayland", "WlShm"),
    "xdg_wm_base": ("xdg_shell", "XdgWmBase"),
    "zxdg_output_manager_v1": ("xdg_output_unstable_v1", "ZxdgOutputManagerV1"),
    "zwp_relative_pointer_manager_v1": ("relative_pointer_unstable_v1", "ZwpRelativePointerManagerV1"),
}
"""Where pywayland keeps the bindings that punktfunk uses."""


def _ignore(_output: Output) -> None: ...


@atexit.register
def _close_all() -> None:
    for connection in list(_open):
        with contextlib.suppress(DesktopError):
            connection.close()
