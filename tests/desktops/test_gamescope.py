"""gamescope: a session of its own for each client and app; what ends it, and what of it is found again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import punktfunk
from punktfunk.app import DESKTOP
from punktfunk.client import input as make
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.backends import open_desktop
from punktfunk.desktop.capture import numbered, open_capture
from punktfunk.errors import DmaBufMissingError, PunktfunkError, VulkanMissingError
from punktfunk.host.app_runner import LAUNCHER_S
from punktfunk.host.desktop import launchable
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.input import InputEvent, InputKind
from punktfunk.native.dialect import CloseCode
from punktfunk.units import Mode
from tests.desktops.support.desktops import KINDS, StreamedDesktop, Window, streamed_desktop
from tests.desktops.support.processes import processes_with
from tests.desktops.support.streaming import MODE, client_of, counted, pictures, send, serving
from tests.support.streaming_host import streaming_host
from tests.support.waiting import eventually, soon

pytestmark = pytest.mark.skipif(
    "gamescope" not in KINDS, reason="gamescope is in Debian testing: nox -s desktops -- --suite testing"
)

SMALLER: Final = Mode(960, 540, 30)
_HERE: Final = Path(__file__).parent / "support"
_GAMESCOPE: Final = "gamescope --backend"
_PROGRAM: Final = "window.py"
_MOST_BUFFERS: Final = 3
"""Of the test window."""


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[StreamedDesktop]:
    """What a host finds that streams by gamescope, with the test window as the program."""
    with streamed_desktop("gamescope", tmp_path) as there:
        yield there


def runs(desktop: StreamedDesktop, what: str) -> list[int]:
    """Return the processes with the user's home, the host excepted, whose command has these words."""
    marked = processes_with(f"HOME={desktop.session.home}")
    return [pid for pid, command in marked.items() if what in command and " serve " not in command]


def keep_apps(host_state: Path, minutes: int) -> None:
    """Have a host keep apps for so long, as the console would."""
    host_state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = host_state / "settings.json"
    path.write_text(json.dumps({"schema_version": 1, "settings": {"app_keep_minutes": minutes}}))
    path.chmod(0o600)


async def ends(client: punktfunk.Client) -> None:
    """End a stream as its user does."""
    client.stop()
    await client.finished()


def test_each_client_has_a_gamescope_of_its_own_in_its_size_with_the_program_in_it(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    window = desktop.show()

    async def scenario() -> None:
        async with (
            client_of(host, tmp_path / "1") as first,
            client_of(host, tmp_path / "2", SMALLER) as second,
        ):
            await pictures(first, 5)
            await pictures(second, 5)
            sizes = {(event["width"], event["height"]) for event in window.events("ready")}
            assert sizes == {(MODE.width, MODE.height), (SMALLER.width, SMALLER.height)}
            assert len(runs(desktop, _PROGRAM)) == 2
            # What the one types, the other's program does not hear.
            before = len(window.events("key"))
            await send(first, *make.text("x"))
            await soon(lambda: len(window.events("key")) >= before + 2, "a key")
            assert len(window.events("key")) == before + 2
            await ends(first)
            await pictures(second, 5)
            await ends(second)

    with serving(desktop, tmp_path, "--sessions", "2") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))
        host.end()
    assert not runs(desktop, _GAMESCOPE)


def test_a_client_that_left_finds_its_program_where_it_was_also_one_that_stands_still(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    desktop.window_options = ("--rate", "0")
    window = desktop.show()

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await pictures(client, 3)
            [program] = runs(desktop, _PROGRAM)
            await ends(client)
        await asyncio.sleep(1.0)  # nothing is waited for: the program is to go on without anybody
        assert runs(desktop, _PROGRAM) == [program]
        async with client_of(host, tmp_path) as client:
            await pictures(client, 3)
            await ends(client)
        # Another size: what runs keeps its own, and is scaled. (The marker cannot be read then.)
        async with client_of(host, tmp_path, SMALLER) as client:
            await counted(client, "frames_complete", 5)
            await ends(client)
        assert runs(desktop, _PROGRAM) == [program]
        assert len(window.events("ready")) == 1

    with serving(desktop, tmp_path, "--sessions", "0") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))
        host.end()
    assert not runs(desktop, _GAMESCOPE)


def test_a_program_that_nobody_comes_back_to_ends_with_its_gamescope(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    keep_apps(tmp_path / "state", 0)

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await pictures(client, 3)
            await ends(client)
        await soon(lambda: not runs(desktop, _PROGRAM), "the program to end")
        await soon(lambda: not runs(desktop, _GAMESCOPE), "its gamescope to end")

    with serving(desktop, tmp_path, "--sessions", "2") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_programs_end_ends_the_session(
    desktop: StreamedDesktop, how: signal.Signals, tmp_path: Path
) -> None:
    window = desktop.show()

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await pictures(client, 5)
            [program] = runs(desktop, _PROGRAM)
            began_ns = window.events("ready")[0]["at_ns"]
            # One that ends in order at once is taken for a launcher, and its app goes on.
            await soon(lambda: monotonic_ns() - began_ns > LAUNCHER_S * 1e9, "a program that is no launcher")
            os.kill(program, how)
            summary = await client.finished()
            assert CloseCode.APP_EXITED.sentence in summary.reason
        await soon(lambda: not runs(desktop, _GAMESCOPE), "its gamescope to end")

    with serving(desktop, tmp_path, "--sessions", "2") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))
        assert host.pid in host.processes(), "the host itself goes on"


def test_a_gamescope_that_crashes_ends_the_session_and_the_next_one_has_another(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await pictures(client, 5)
            for pid in runs(desktop, _GAMESCOPE):
                os.kill(pid, signal.SIGKILL)
            await client.finished()
        async with client_of(host, tmp_path) as client:
            await pictures(client, 5)
            await ends(client)

    with serving(desktop, tmp_path, "--sessions", "3") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))


def test_programs_of_x11_are_typed_into_with_shift_and_hear_clicks_and_whole_notches(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    log = tmp_path / "x11.jsonl"
    program = shlex.join((sys.executable, str(_HERE / "x11window.py")))
    desktop.other_command = ("sh", "-c", f"exec {program} >{log}")
    window = Window(log)
    text = "Hello, World? 42;x"

    async def scenario() -> None:
        async with client_of(host, tmp_path) as client:
            await soon(lambda: window.events("ready"), "the program of X11")
            await counted(client, "frames_complete", 3)
            async with asyncio.timeout(30):
                while "x" not in window.typed:
                    await send(client, *make.text("x"))
                    await asyncio.sleep(0.05)
            before = len(window.typed)
            await send(client, *make.text(text))
            await soon(lambda: window.typed[before:].endswith(text), f"{text!r}, not {window.typed!r}")
            await send(
                client, make.move_to(100, 200, MODE.width, MODE.height), *make.click(1), make.scroll(-2)
            )
            await soon(lambda: len(presses(window, 5)) >= 2, "two notches down")
            assert presses(window, 1) == [[100.0, 200.0]]
            assert len(presses(window, 5)) == 2
            # Parts of a notch add up to it.
            for _ in range(4):
                await send(client, InputEvent(InputKind.SCROLL, x=30))
            await soon(lambda: presses(window, 4), "a notch up")
            assert len(presses(window, 4)) == 1
            await ends(client)

    with serving(desktop, tmp_path) as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))
        host.end()


def test_an_app_of_the_catalogue_gets_a_gamescope_beside_what_the_host_streams(
    desktop: StreamedDesktop, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    game = {"id": 2, "title": "Game", "command": list(desktop.command), "folder": "", "own_desktop": True}
    apps = {"schema_version": 3, "next_id": 3, "apps": [{**game, "compositor": "gamescope"}]}
    (state / "apps.json").write_text(json.dumps(apps))
    (state / "apps.json").chmod(0o600)
    shared = StreamedDesktop(
        dataclasses.replace(KINDS["headless-sway"], path=desktop.kind.path), desktop.session, tmp_path
    )
    window = desktop.show()

    async def scenario() -> None:
        config = punktfunk.ClientConfig(
            pin=host.fingerprint, mode=SMALLER, state_dir=tmp_path / "client-state", app="game"
        )
        async with punktfunk.Client(host.address, config) as client:
            await pictures(client, 5)
            assert window.size == (SMALLER.width, SMALLER.height)
            await ends(client)

    with serving(shared, tmp_path, "--sessions", "1") as host:
        asyncio.run(asyncio.wait_for(scenario(), 180))


def test_moonlight_launches_the_program_leaves_it_resumes_and_quits_it(
    desktop: StreamedDesktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in desktop.session.env.items():
        monkeypatch.setenv(variable, value)
    spec = DesktopSpec(backend=desktop.kind.backend, app=desktop.command)
    apps = tuple(launchable([DESKTOP], spec))

    async def streams(client: GameStreamClient) -> None:
        read = [0]
        client.on_progress = lambda progress: read.append(progress.counters.get("strips_read", 0))
        async with client:
            await soon(lambda: read[-1] >= 5, "the program's pictures")
            client.stop()
            await client.finished()

    async def scenario() -> None:
        async with streaming_host(tmp_path, source=spec, apps=apps) as host:
            who = await host.paired("television")
            await streams(host.client(who, app=DESKTOP.title, mode=SMALLER))
            [program] = runs(desktop, _PROGRAM)
            assert (await host.asking(who).info_as_paired()).current_app == DESKTOP.id
            again = host.client(who, mode=SMALLER)
            await streams(again)
            assert again.resumed
            assert runs(desktop, _PROGRAM) == [program]
            await host.asking(who).quit()
            assert not runs(desktop, _PROGRAM)
            assert (await host.asking(who).info_as_paired()).current_app == 0
            assert not any(report.failed for report in host.host.reports)

    asyncio.run(asyncio.wait_for(scenario(), 180))
    eventually(lambda: not runs(desktop, _GAMESCOPE), "its gamescope to end")


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        pytest.param({"PATH": "/usr/games:/usr/bin:/bin"}, DmaBufMissingError, id="no-dma-buf"),
        pytest.param({"VK_DRIVER_FILES": "/nonexistent.json"}, VulkanMissingError, id="no-vulkan"),
    ],
)
@pytest.mark.skipif(
    Path("/dev/udmabuf").exists() or Path("/dev/dri").exists(), reason="this machine can share pictures"
)
def test_what_this_machine_lacks_is_told_when_the_host_starts(
    desktop: StreamedDesktop, environment: dict[str, str], error: type[PunktfunkError], tmp_path: Path
) -> None:
    options = ("serve", "--desktop", "gamescope", "--app", "true", "--open", "--no-gamestream", "--no-mdns")
    ports = ("--mgmt-bind", "127.0.0.1:0", "--native-port", "0", "--state-dir", str(tmp_path / "state"))
    with contextlib.ExitStack() as undo:
        former = dict(desktop.session.env)
        undo.callback(lambda: (desktop.session.env.clear(), desktop.session.env.update(former)))
        desktop.session.env.update(environment)
        program = desktop.session.programs.start(
            "serve", [sys.executable, "-m", "punktfunk", *options, *ports]
        )
        assert program.process.wait(60) == error.exit_code
    assert f"[{error.code}]" in program.text()
    assert ("udmabuf" if error is DmaBufMissingError else "mesa-vulkan-drivers") in program.text()
    assert not runs(desktop, _GAMESCOPE)


@pytest.mark.parametrize("reuse", [False, True])
def test_pictures_stand_still_of_a_program_that_puts_its_buffers_up_again_where_nothing_but_software_draws(
    desktop: StreamedDesktop, reuse: bool
) -> None:
    """What the how-to says of such machines; where gamescope has changed, this tells."""
    numbers: set[int] = set()
    with pytest.MonkeyPatch.context() as inside:
        for variable, value in desktop.session.env.items():
            inside.setenv(variable, value)
        desktop.window_options = ("--reuse",) if reuse else ()
        options = DesktopOptions(program=desktop.command, audio=False, state_dir=desktop.session.home)
        with open_desktop(options, desktop.kind.backend).desktop as opened:
            output = opened.provide(MODE)
            capture = open_capture(numbered(output.screen), output.mode)
            eventually(lambda: capture.capture().frame >= 0, "a picture with a marker")
            for _ in range(60):
                numbers.add(capture.capture().frame)
            capture.close()
            opened.give_back(output)
    numbers.discard(-1)
    assert (len(numbers) <= _MOST_BUFFERS) == reuse, sorted(numbers)


def presses(window: Window, button: int) -> list[Any]:
    """Return where a button of X11 was pressed; 4 and 5 are the wheel."""
    told = window.events("pointer_button")
    return [event["values"] for event in told if event["button"] == button and event["down"]]
