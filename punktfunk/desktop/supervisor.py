"""The session supervisor: a process that owns a compositor and everything that runs in it.

It outlives a stream worker, so that a crashed encoder does not take the desktop with it, and it holds the
virtual pointer and keyboard from the compositor's start to its end. It ends when its channel does: programs
first, then the compositor, then whatever is left, within END_LIMIT_S. Should it be killed, the kernel ends
the rest (see ``containment``). Started by :class:`punktfunk.desktop.session.DesktopSession` only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from punktfunk.desktop import containment
from punktfunk.desktop.process_session import end_rest_of, left_of
from punktfunk.desktop.runtime import note_x_display, remove
from punktfunk.errors import DesktopError, PunktfunkError
from punktfunk.input import InputEvent
from punktfunk.process import interrupts

if TYPE_CHECKING:
    from punktfunk.desktop import messages
    from punktfunk.desktop.children import Child
    from punktfunk.desktop.gamescope.headless import HeadlessGamescope
    from punktfunk.desktop.inject.wlr import WlrInjector
    from punktfunk.desktop.vdisplay import VirtualOutput
    from punktfunk.desktop.vdisplay.headless_sway import HeadlessSway
    from punktfunk.desktop.vdisplay.sway import SwayDisplay
    from punktfunk.desktop.wayland.connection import Connection

P = TypeVar("P")

END_LIMIT_S: Final = 1.8
_APP_GRACE_S, _COMPOSITOR_GRACE_S, _REST_GRACE_S = 0.4, 0.4, 0.2


class Supervisor:
    """One session, from its opening to its end. Everything happens in one thread."""

    def __init__(self, end: socket.socket, held: containment.Containment) -> None:
        from punktfunk.desktop import messages
        from punktfunk.desktop.children import Children
        from punktfunk.process.channel import Channel

        self._messages = messages
        self._channel = Channel(end, messages.VOCABULARY)
        self._containment = held
        self._children = Children(held)
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._ready = False
        self._compositor_child: Child | None = None
        self._services: list[Child] = []
        self._apps: dict[int, Child] = {}
        self._left: dict[int, int] = {}
        """What ended and left processes of its session, by app: the number of that session."""
        self._ending: dict[int, int] = {}
        self._next_app = 1
        self._runtime: Path | None = None
        self._compositor: HeadlessSway | HeadlessGamescope | None = None
        self._display: SwayDisplay | None = None
        self._connection: Connection | None = None
        self._injector: WlrInjector | None = None

    def run(self) -> None:
        """Serve until the channel ends, the compositor ends or SIGTERM comes; then end everything."""
        wake = self._wake_on_signals()
        self._selector.register(self._channel.fileno(), selectors.EVENT_READ, self._channel_readable)
        self._selector.register(wake, selectors.EVENT_READ, lambda: self._signalled(wake))
        try:
            while not self._stopping:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._end()

    def refuse(self, error: PunktfunkError) -> None:
        """Answer the first request with ``error``."""
        received = self._channel.receive()
        if received is not None:
            self._fail(received[0].number, error)

    def _wake_on_signals(self) -> int:
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        interrupts.ignored()
        return ours

    def _signalled(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        self._children.reap()

    def _stop(self) -> None:
        self._stopping = True

    def _channel_readable(self) -> None:
        received = self._channel.receive()
        if received is None:
            self._stop()
            return
        request, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        try:
            self._obey(request)
        except PunktfunkError as error:
            self._fail(getattr(request, "number", 0), error)
            if not self._ready:
                self._stop()

    def _obey(self, request: messages.Request | InputEvent) -> None:
        known = self._messages
        match request:
            case known.OpenSession():
                self._open(request)
            case known.OpenGamescope():
                self._open_gamescope(request)
            case InputEvent():
                self._need(self._injector).inject(request)
            case known.MakeOutput():
                self._make_output(request)
            case known.ChangeOutput():
                self._change_output(request)
            case known.Launch():
                self._launch(request)
            case known.EndApp():
                self._end_app(request)
            case known.ReleaseAll():
                injector = self._need(self._injector)
                injector.release_all()
                self._send(known.Released(request.number, injector.counters))
            case _:
                raise TypeError(f"{type(request).__name__} is not for a session supervisor")

    def _open(self, request: messages.OpenSession) -> None:
        from punktfunk.desktop import wayland
        from punktfunk.desktop.inject.keymap import Keyboard
        from punktfunk.desktop.vdisplay.headless_sway import HeadlessSway
        from punktfunk.desktop.vdisplay.sway import SwayDisplay
        from punktfunk.desktop.wayland.capture_session import is_offered

        wayland.require()
        keyboard = Keyboard(request.keyboard_layout, request.keyboard_variant)
        runtime, env, pulse_server = self._start_services(
            request.runtime, sound=request.audio, pictures=False
        )
        self._compositor = sway = HeadlessSway(self._children, runtime, env)
        self._compositor_child = sway.start(xwayland=request.xwayland, on_exit=self._compositor_exited)
        note_x_display(runtime, sway.x_display)
        self._connection = wayland.connect(sway.socket)
        self._display = SwayDisplay(sway.ipc_path, sway.socket, outputs_outlive_us=True)
        from punktfunk.desktop.inject.wlr import WlrInjector

        self._injector = WlrInjector(self._connection, keyboard)
        connection = self._connection
        self._selector.register(
            connection, selectors.EVENT_READ, lambda: self._compositor_readable(connection)
        )
        self._ready = True
        self._send(
            self._messages.SessionOpened(
                request.number,
                socket=sway.socket,
                ipc_path=sway.ipc_path,
                x_display=sway.x_display,
                containment=str(self._containment),
                pulse_server=pulse_server,
                tells_cursor=is_offered(connection),
            )
        )

    def _open_gamescope(self, request: messages.OpenGamescope) -> None:
        """Bring it up. Its input is no business of this process: whoever injects connects to it."""
        from punktfunk.desktop import wayland
        from punktfunk.desktop.gamescope.headless import HeadlessGamescope

        wayland.require()
        runtime, env, pulse_server = self._start_services(request.runtime, sound=request.audio, pictures=True)
        env["XKB_DEFAULT_LAYOUT"], env["XKB_DEFAULT_VARIANT"] = (
            request.keyboard_layout,
            request.keyboard_variant,
        )
        self._compositor = gamescope = HeadlessGamescope(self._children, runtime, env)
        self._compositor_child = gamescope.start(
            request.mode, steam=request.steam, on_exit=self._compositor_exited
        )
        note_x_display(runtime, gamescope.x_display)
        opened = self._messages.GamescopeOpened(
            request.number,
            socket=gamescope.socket,
            x_display=gamescope.x_display,
            ei_path=gamescope.ei_path,
            pipewire=str(runtime / "pipewire-0"),
            node=gamescope.node(),
            containment=str(self._containment),
            pulse_server=pulse_server,
        )
        self._ready = True
        self._send(opened)

    def _start_services(
        self, runtime: str, *, sound: bool, pictures: bool
    ) -> tuple[Path, dict[str, str], str]:
        """Start what runs beside a compositor; return its folder, its environment and the sound server's address."""
        self._runtime = Path(runtime)
        env = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        env.update(self._start_bus(env))
        pulse_server = ""
        if sound or pictures:
            from punktfunk.desktop.audio.pipewire import start_pipewire

            services, pulse_server = start_pipewire(self._children, self._runtime, env, sound=sound)
            self._services += services
        if pulse_server:
            env["PULSE_SERVER"] = pulse_server
        return self._runtime, env, pulse_server

    def _start_bus(self, env: dict[str, str]) -> dict[str, str]:
        """Start a session bus where there is the program for it; a session works without."""
        if shutil.which("dbus-daemon") is None or self._runtime is None:
            return {"DBUS_SESSION_BUS_ADDRESS": ""}
        address = f"unix:path={self._runtime / 'bus'}"
        argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--nosyslog", f"--address={address}"]
        self._services.append(self._children.start("dbus-daemon", argv, env))
        # A WirePlumber that finds nobody at its address ends, and with it sound and pictures.
        from punktfunk.desktop.starting import await_socket

        await_socket(self._runtime / "bus", self._children, self._services[-1])
        return {"DBUS_SESSION_BUS_ADDRESS": address}

    def _make_output(self, request: messages.MakeOutput) -> None:
        self._answer_output(
            request.number, self._need(self._display).create(request.mode, scale=request.scale)
        )

    def _change_output(self, request: messages.ChangeOutput) -> None:
        from punktfunk.desktop.vdisplay import VirtualOutput

        former = VirtualOutput(request.name, request.mode)
        output = self._need(self._display).change(former, request.mode, scale=request.scale)
        self._answer_output(request.number, output)

    def _answer_output(self, number: int, output: VirtualOutput) -> None:
        self._send(self._messages.OutputMade(number, output.name, output.mode))

    def _launch(self, request: messages.Launch) -> None:
        from punktfunk.desktop.output import ProgramOutput

        if self._compositor is None:
            raise DesktopError("the session is not open yet")
        env = {**self._compositor.app_env, **request.env}
        number, self._next_app = self._next_app, self._next_app + 1
        output = ProgramOutput(self._selector)
        try:
            self._apps[number] = self._children.start(
                request.argv[0] if request.argv else "",
                request.argv,
                env,
                cwd=request.cwd,
                output=output.writing_end,
                on_exit=lambda child: self._app_exited(number, child, output.last_words()),
            )
        except PunktfunkError:
            output.close()
            raise
        finally:
            os.close(output.writing_end)
        self._send(self._messages.Launched(request.number, number))

    def _end_app(self, request: messages.EndApp) -> None:
        app = self._apps.get(request.app)
        if app is not None:
            self._ending[request.app] = request.number
            self._children.end([app], _APP_GRACE_S)
            return
        leader = self._left.pop(request.app, None)
        if leader is None:
            raise DesktopError(f"no program {request.app} runs in this session")
        end_rest_of(leader, _APP_GRACE_S)
        self._send(self._messages.AppEnded(request.number, request.app, 0, ""))

    def _app_exited(self, number: int, child: Child, words: str) -> None:
        self._apps.pop(number, None)
        # Those of earlier ones that have gone by themselves meanwhile, nobody has to end any more.
        self._left = {app: leader for app, leader in self._left.items() if left_of(leader)}
        answer = self._ending.pop(number, 0)
        if answer:
            # Who has asked for its end is told once nothing of it is left.
            end_rest_of(child.pid, _APP_GRACE_S)
        elif left_of(child.pid):
            self._left[number] = child.pid
        status = -1 if child.status is None else child.status
        self._send(self._messages.AppEnded(answer, number, status, words))

    def _compositor_exited(self, child: Child) -> None:
        if not self._stopping:
            status = child.status or 0
            how = f"signal {-status}" if status < 0 else f"status {status}"
            words = self._compositor.last_words() if self._compositor is not None else ""
            self._fail(0, DesktopError(f"the compositor ended ({how}): {words}"))
            self._stop()

    def _compositor_readable(self, connection: Connection) -> None:
        try:
            connection.dispatch(0)
        except PunktfunkError as error:
            self._selector.unregister(connection)
            # Most often because it has ended, and how it ended says more than that it does not answer.
            if self._compositor_child is not None:
                self._children.gone([self._compositor_child], _COMPOSITOR_GRACE_S)
            if not self._stopping:
                self._fail(0, error)
                self._stop()

    def _need(self, part: P | None) -> P:
        if part is None:
            raise DesktopError("the session is not open yet")
        return part

    def _send(self, message: messages.Answer) -> None:
        with contextlib.suppress(PunktfunkError):  # who started us is gone: the end of the channel follows
            self._channel.send(message)

    def _fail(self, number: int, error: PunktfunkError) -> None:
        self._send(self._messages.Failed(number, error.code, error.cause, error.hint))

    def _end(self) -> None:
        """End programs, then the compositor, then services; the devices go with the compositor."""
        self._stopping = True
        last = threading.Timer(END_LIMIT_S, os._exit, args=(70,))
        last.daemon = True
        last.start()
        if self._injector is not None:
            with contextlib.suppress(PunktfunkError):
                self._injector.close()
        self._children.end(list(self._apps.values()), _APP_GRACE_S)
        if self._display is not None:
            with contextlib.suppress(PunktfunkError):
                self._display.close()
        if self._compositor_child is not None:
            self._children.end([self._compositor_child], _COMPOSITOR_GRACE_S)
        self._children.end(list(reversed(self._services)), _REST_GRACE_S)
        self._children.end_rest(_REST_GRACE_S)
        if self._connection is not None:
            self._connection.close()
        if self._runtime is not None:
            remove(self._runtime)


def main() -> None:
    """Contain this process, serve, and end without the interpreter's own finalisation."""
    parser = argparse.ArgumentParser(description="A session supervisor; started by punktfunk itself only.")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    try:
        end = socket.socket(fileno=parser.parse_args().channel)
    except OSError:
        sys.exit("this program is started by punktfunk itself")
    end.set_inheritable(False)
    refusal: PunktfunkError | None = None
    held = containment.Containment.DESCENT
    try:
        held = containment.enter()
    except PunktfunkError as error:
        refusal = error
    supervisor = Supervisor(end, held)
    if refusal is not None:
        supervisor.refuse(refusal)
    else:
        supervisor.run()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
