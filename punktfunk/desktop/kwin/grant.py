"""The right to capture KWin's outputs: how it is given to punktfunk and to nothing else, and how it is made use of.

KWin shows its screencast interface to a client only where an application of KDE's menu says so: it looks for one whose
``Exec=`` is the program that connected (``/proc/PID/exe``) and takes its ``X-KDE-Wayland-Interfaces=``. Of Python that
program is the interpreter, so that the right would be every Python program's; and where the distribution has an entry
for the interpreter, as Debian has, KWin takes whichever of the two it finds first. So an interpreter of punktfunk's
own, a copy at a path of its own, makes the connection and passes it on. See ADR 0186.

Not here: what is captured (``screencast``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from punktfunk.desktop import wayland
from punktfunk.desktop.user_data import applications, data_home, write_whole
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

if TYPE_CHECKING:
    from punktfunk.desktop.wayland.connection import Connection

R = TypeVar("R")

HINT: Final = "run: punktfunk desktop grant kwin"
_LIMIT_S: Final = 5.0
"""For the granted program, which takes 20 ms."""
_ENTRY: Final = "punktfunk-screencast.desktop"
_PROGRAM: Final = "punktfunk-screencast"
_INTERFACE: Final = "zkde_screencast_unstable_v1"
_WORDS_LIMIT: Final = 512

_CONNECT: Final = """
import socket, sys
asked = socket.socket(fileno=0)
try:
    compositor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    compositor.connect(sys.argv[1])
except OSError as error:
    asked.sendall((error.strerror or str(error)).encode())
else:
    socket.send_fds(asked, [b"\\0"], [compositor.fileno()])
    asked.recv(1)  # KWin looks at who has connected; stay until it has
"""
"""What the granted program does: connect, pass the connection on by its standard input, stay until that is closed."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Where the right is written down: a program and the entry in KDE's menu that names it, in the user's own files."""

    program: Path
    entry: Path

    @property
    def given(self) -> bool:
        """Whether both are there; whether KWin agrees, a connection shows."""
        return self.entry.is_file() and os.access(self.program, os.X_OK)


def place() -> Grant:
    """Return where this user's grant is, or would be."""
    return Grant(data_home() / "punktfunk/kwin" / _PROGRAM, applications() / _ENTRY)


def give() -> Grant:
    """Let punktfunk capture KWin's outputs, from the next connection on; giving it again renews it.

    Raises CapabilityError where the interpreter does not work as a copy, or the files cannot be written.
    """
    grant = place()
    try:
        _copy_interpreter(grant.program)
        write_whole(grant.entry, _entry_of(grant.program.resolve()))
        _try_out(grant.program)
    except OSError as error:
        take_back()
        raise CapabilityError(
            f"the grant cannot be written: {error.strerror}: {error.filename}",
            "is there room, and is it yours?",
        ) from error
    except CapabilityError:
        take_back()
        raise
    return grant


def take_back() -> bool:
    """Take the right away and return whether there was any; connections that are open keep it."""
    grant = place()
    there = grant.entry.exists() or grant.program.parent.exists()
    grant.entry.unlink(missing_ok=True)
    if grant.program.parent.exists():
        shutil.rmtree(grant.program.parent)
    return there


def connect(display: str) -> Connection:
    """Connect to the compositor's socket as the granted program; raises what :func:`open_socket` raises."""
    wayland.require()
    return open_socket(display, wayland.take_over)


def open_socket(path: str, use: Callable[[int], R]) -> R:
    """Connect to a socket as the granted program, and return what ``use`` makes of the connection, which it owns.

    The program is there until that has returned. Raises CapabilityError where there is no grant or it does not work any
    more, and DesktopError where nobody answers.
    """
    grant = place()
    if not grant.given:
        raise CapabilityError("punktfunk has not been granted the right to capture", HINT)
    with _asked(grant.program, path) as answer:
        return use(_passed_on(answer))


@contextlib.contextmanager
def _asked(program: Path, path: str) -> Iterator[socket.socket]:
    """Start the program, have it connect to ``path``, and yield the socket that it answers on; it ends afterwards."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.settimeout(_LIMIT_S)
        process = _start(program, theirs, path)
        try:
            theirs.close()
            yield ours
        finally:
            ours.close()
            _end(process)


def _copy_interpreter(program: Path) -> None:
    """Put a copy of the interpreter that runs at ``program``, and beside it where its library is."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.parent.chmod(0o700)
    base = Path(getattr(sys, "_base_executable", sys.executable) or sys.executable).resolve()
    # By another name first: a program that runs cannot be written to.
    new = program.with_name(f"{program.name}.new")
    shutil.copyfile(base, new)
    new.chmod(0o700)
    new.replace(program)
    write_whole(program.with_name("pyvenv.cfg"), f"home = {Path(sys.base_prefix) / 'bin'}\n")


def _entry_of(program: Path) -> str:
    """Return the entry for KDE's menu, in which it is not shown."""
    return "\n".join(
        (
            "[Desktop Entry]",
            "Type=Application",
            "Name=punktfunk",
            "Comment=Streams outputs of this desktop; made by: punktfunk desktop grant kwin",
            f"Exec={_quoted(str(program))}",
            "NoDisplay=true",
            f"X-KDE-Wayland-Interfaces={_INTERFACE}",
            "",
        )
    )


def _quoted(path: str) -> str:
    """Return a path as an ``Exec=`` key holds it; raise CapabilityError for one that KWin would not recognise there."""
    if any(character in path for character in '"`$\\%=\n\r\t'):
        raise CapabilityError(
            f"KWin cannot be told of a program at {path!r}", "set XDG_DATA_HOME to a plain path"
        )
    return f'"{path}"' if " " in path else path


def _start(program: Path, theirs: socket.socket, display: str) -> subprocess.Popen[bytes]:
    environment = {}
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        environment["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
    try:
        return subprocess.Popen(
            [str(program), "-I", "-S", "-c", _CONNECT, display],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
        )
    except OSError as error:
        raise CapabilityError(f"the granted program cannot be started: {error.strerror}", HINT) from error


def _passed_on(ours: socket.socket) -> int:
    """Return the descriptor of the connection; raise CapabilityError where the program does not work any more."""
    try:
        words, descriptors, _, _ = socket.recv_fds(ours, _WORDS_LIMIT, 1)
    except TimeoutError:
        raise DesktopError("the granted program does not answer") from None
    if descriptors:
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
    if words:
        said = printable(words.decode("utf-8", "replace"), MAX_PEER_CHARACTERS)
        raise DesktopError(f"no compositor answers the granted program: {said}")
    # The interpreter that it was copied from has been replaced by another version, as a rule.
    raise CapabilityError("the granted program does not run any more", HINT)


def _try_out(program: Path) -> None:
    """Raise CapabilityError unless the program runs: a socket that is not there is what it has to tell of."""
    try:
        with _asked(program, "/nonexistent/socket") as answer:
            _passed_on(answer)
    except DesktopError:
        return
    except CapabilityError as error:
        raise CapabilityError(
            f"a copy of {sys.executable} does not run",
            "use the Python of your distribution, or --desktop portal",
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LIMIT_S)
