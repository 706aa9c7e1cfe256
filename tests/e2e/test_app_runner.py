"""An app's program on a desktop: started with its arguments as they are, heard of when it ends, ended whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from punktfunk.app import DESKTOP, App
from punktfunk.desktop import OnEnd, RunningProgram
from punktfunk.desktop.attached_program import AttachedProgram
from punktfunk.desktop.process_session import left_of
from punktfunk.errors import CapabilityError
from punktfunk.host import app_runner
from punktfunk.host.app_runner import AppRunner
from punktfunk.host.desktop import DesktopPool
from tests.support.waiting import PATIENCE_S, eventually, soon

NOBODY = 65534


class Desk:
    """A desktop as far as programs go: the user's own, without a compositor."""

    def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
        return AttachedProgram(command, folder, "wayland-test", on_end)

    def close(self) -> None:
        pass


def runner(desk: Desk | None = None) -> AppRunner:
    return AppRunner(DesktopPool(desk or Desk()))  # type: ignore[arg-type]  # it is asked for programs alone


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_gets_its_arguments_folder_and_display(tmp_path: Path) -> None:
    code = "import os, sys; open('said', 'w').write(repr((sys.argv[1:], os.getcwd(), os.environ['WAYLAND_DISPLAY'])))"
    app = App(2, "a", python(code, "a b; $HOME", "*"), str(tmp_path))

    async def run() -> None:
        await runner().start(app, lambda: None)
        said = await soon(
            lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text(), "its words"
        )
        assert said == repr((["a b; $HOME", "*"], str(tmp_path), "wayland-test"))

    asyncio.run(run())


def test_a_program_that_fails_ends_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        ended = asyncio.Event()
        runs = runner()
        await runs.start(App(2, "a", python("raise SystemExit(3)"), "/"), ended.set)
        await asyncio.wait_for(ended.wait(), 30)
        monkeypatch.setattr(app_runner, "LAUNCHER_S", 0.0)
        ended.clear()
        await runs.start(App(2, "a", python(""), "/"), ended.set)
        await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(run())


def test_a_launcher_that_has_handed_over_leaves_its_app_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_runner, "LAUNCHER_S", PATIENCE_S)
    code = "import os, sys; open('pid', 'w').write(str(os.getpid()))"

    async def run() -> None:
        ended: list[int] = []
        runs = runner()
        await runs.start(App(2, "a", python(code), str(tmp_path)), lambda: ended.append(1))
        pid = int(
            await soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "its pid")
        )
        await soon(lambda: not alive(pid), "its end")
        await asyncio.sleep(0)
        assert not ended
        await runs.end()

    asyncio.run(run())


def test_an_app_is_ended_with_what_it_started_and_nobody_hears_of_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "open('pids.new', 'w').write(f'{os.getpid()} {child.pid}'); os.rename('pids.new', 'pids'); time.sleep(600)"
    )

    async def run() -> None:
        ended: list[int] = []
        runs = runner()
        await runs.start(App(2, "a", python(code), str(tmp_path)), lambda: ended.append(1))
        text = await soon(
            lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), "its pids"
        )
        await runs.end()
        first, second = map(int, text.split())
        assert not alive(first)
        await soon(lambda: not alive(second), "its child's end")
        await runs.end()
        assert not ended

    asyncio.run(run())


def test_an_app_that_cannot_be_started_is_said_to_be_so(tmp_path: Path) -> None:
    async def run() -> None:
        runs = runner()
        for app in (App(2, "a", ("/no/such/program",)), App(2, "a", python(""), str(tmp_path / "gone"))):
            with pytest.raises(CapabilityError):
                await runs.start(app, lambda: None)
        with pytest.raises(CapabilityError, match="needs a desktop"):
            await AppRunner(None).start(App(2, "a", python("")), lambda: None)
        await AppRunner(None).start(DESKTOP, lambda: None)

    asyncio.run(run())


@pytest.mark.parametrize("ends_first", [True, False])
def test_what_a_launcher_or_a_program_that_ends_in_order_leaves_is_ended_with_the_app(
    tmp_path: Path, ends_first: bool
) -> None:
    """The game of a launcher that has handed over, and a child that does not care for what its parent was asked."""
    rest = "" if ends_first else "exec sleep 600"
    game = f"trap '' TERM; (while :; do sleep 600; done) & echo $$ $! > ids; mv ids both; trap - TERM; {rest}"

    async def run() -> None:
        runs = runner()
        await runs.start(App(2, "a", ("/bin/sh", "-c", game), str(tmp_path)), lambda: None)
        await soon((tmp_path / "both").exists, "a game")
        launcher, left = map(int, (tmp_path / "both").read_text().split())
        if ends_first:
            await soon(lambda: not alive(launcher), "the launcher's end")
        assert alive(left)
        await runs.end()
        await soon(lambda: not alive(left), "the game's end")

    asyncio.run(run())


def test_what_a_program_leaves_that_has_failed_is_ended_before_its_app_is_over(tmp_path: Path) -> None:
    """Nobody could quit it any more: a launcher that takes longer than one may, or fails when its game runs."""
    game = "trap '' TERM; (while :; do sleep 600; done) & echo $$ > leader; exit 1"

    async def run() -> None:
        left: list[list[int]] = []
        ended = asyncio.Event()

        def over() -> None:
            left.append(left_of(int((tmp_path / "leader").read_text())))
            ended.set()

        runs = runner()
        await runs.start(App(2, "a", ("/bin/sh", "-c", game), str(tmp_path)), over)
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        assert left == [[]]

    asyncio.run(run())


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user that may not end what root runs, as who starts ``sudo`` is one."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.root
def test_what_runs_as_another_user_keeps_nothing_else_of_an_app_from_its_end(tmp_path: Path) -> None:
    """What an app has started by ``sudo`` or ``pkexec``: it stays, and the game beside it does not."""
    sleep = shutil.which("sleep")
    as_user = f"import os; os.setuid({NOBODY}); os.execv({sleep!r}, ('sleep', '600'))"
    code = 'sleep 600 & echo $! > ids; "$0" -ISc "$1" & echo $! >> ids; exit 0'
    ended = threading.Event()
    command = ("/bin/sh", "-c", code, sys.executable, as_user)
    program = AttachedProgram(command, tmp_path, "wayland-test", lambda *_: ended.set())
    leader = program._process.pid
    try:
        assert ended.wait(PATIENCE_S)
        theirs, ours = map(int, (tmp_path / "ids").read_text().split())
        name = Path(f"/proc/{ours}/comm")
        eventually(lambda: name.read_text() == "sleep\n", "a game of the user's own")
        with as_nobody():
            program.end()
        assert left_of(leader) == [theirs]
    finally:
        program.end()
    assert not left_of(leader)

    whole = AttachedProgram(("sleep", "600"), tmp_path, "wayland-test", lambda *_: None)
    try:
        with as_nobody():
            whole.end()
        assert alive(whole._process.pid)
    finally:
        whole.end()


def test_an_app_that_is_quit_while_it_begins_leaves_no_program(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    pids: list[int] = []

    class Slow(Desk):
        def run(self, command: Sequence[str], folder: Path, on_end: OnEnd) -> RunningProgram:
            program = AttachedProgram(command, folder, "wayland-test", on_end)
            pids.append(program._process.pid)
            begun.set()
            go_on.wait(30)
            return program

    async def run() -> None:
        runs = runner(Slow())
        app = App(2, "a", python("import time; time.sleep(600)"), str(tmp_path))
        starting = asyncio.create_task(runs.start(app, lambda: None))
        await asyncio.to_thread(begun.wait, 30)
        ending = asyncio.create_task(runs.end())
        await asyncio.sleep(0)
        go_on.set()
        await ending
        with pytest.raises(CapabilityError, match="before it had begun"):
            await starting
        assert not alive(pids[0])

    asyncio.run(run())
