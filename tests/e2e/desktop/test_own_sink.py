"""A sink for what is streamed: programs play into it while it is there, and the former default comes back after it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

import punktfunk
from punktfunk.desktop.audio import SAMPLE_RATE, SoundPlace
from punktfunk.desktop.audio.own_sink import SINK, OwnSink, restore_left
from punktfunk.desktop.audio.pulse import PulseCapture
from punktfunk.errors import DesktopError
from punktfunk.host.desktop import DesktopPool
from punktfunk.host.peripherals.own_sinks import OwnSinks
from punktfunk.trust.open_trust import OpenTrust
from tests.desktops.support.session import SPEAKERS, user_session
from tests.e2e.test_desktop_of_another_kind import MODE, Blackboard, host_config
from tests.support.waiting import PATIENCE_S, eventually, soon

REPOSITORY = Path(__file__).parents[3]
_HOST = """\
import sys, time
from pathlib import Path
from punktfunk.desktop.audio.own_sink import OwnSink
sink = OwnSink(Path(sys.argv[1]))
print(sink._holder.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def restarts() -> list[Callable[[], None]]:
    """What ends the sound server and starts it again."""
    return []


@pytest.fixture
def server(
    need_tool: Callable[..., str], tmp_path: Path, restarts: list[Callable[[], None]]
) -> Iterator[Mapping[str, str]]:
    """A user's sound server: the environment that leads to it."""
    for program, package in (
        ("dbus-daemon", "dbus-daemon"),
        ("pw-cli", "pipewire-bin"),
        ("wireplumber", "wireplumber"),
        ("pipewire-pulse", "pipewire-pulse"),
        ("paplay", "pulseaudio-utils"),
    ):
        need_tool(program, package)
    with user_session(tmp_path / "user") as session:
        restarts.append(session.restart_pipewire)
        env = {**session.env, "PULSE_SERVER": f"unix:{session.runtime}/pulse/native"}
        eventually(lambda: default(env) == SPEAKERS, "the session has speakers")
        yield env


def ask(env: Mapping[str, str], *command: str) -> str:
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def default(env: Mapping[str, str]) -> str:
    return ask(env, "pactl", "get-default-sink").strip()


def configured(env: Mapping[str, str]) -> str:
    """What was chosen by somebody, as PipeWire keeps it; nothing where nobody has."""
    return ask(env, "pw-metadata", "0", "default.configured.audio.sink")


def sinks(env: Mapping[str, str]) -> list[str]:
    return [line.split("\t")[1] for line in ask(env, "pactl", "list", "short", "sinks").splitlines()]


def choose(env: Mapping[str, str], sink: str) -> None:
    """Choose a sink as a user does."""
    ask(env, "pactl", "set-default-sink", sink)
    eventually(lambda: sink in configured(env), "it is chosen")


def test_what_plays_goes_to_the_sink_while_it_is_there_and_to_the_speakers_after_it(
    server: Mapping[str, str], tmp_path: Path
) -> None:
    times = np.arange(SAMPLE_RATE * 60) / SAMPLE_RATE
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.sin(2 * np.pi * 700 * times) * 16000).astype("<i2").tobytes())
    with subprocess.Popen(["paplay", str(tmp_path / "tone.wav")], env={**os.environ, **server}) as playing:
        try:
            eventually(lambda: audible(server, f"{SPEAKERS}.monitor"), "it plays on the speakers")
            with OwnSink(tmp_path / "note", server) as sink:
                assert default(server) == SINK
                assert (tmp_path / "note").exists()
                eventually(lambda: audible(server, sink.place.source), "it plays where it is streamed from")
                assert not audible(server, f"{SPEAKERS}.monitor")
            eventually(lambda: audible(server, f"{SPEAKERS}.monitor"), "it plays on the speakers again")
        finally:
            playing.kill()
    assert sinks(server) == [SPEAKERS]
    assert SINK not in configured(server)
    assert not (tmp_path / "note").exists()


def test_a_sink_that_was_chosen_is_chosen_again_and_one_that_is_chosen_meanwhile_stays(
    server: Mapping[str, str], tmp_path: Path
) -> None:
    ask(server, "pactl", "load-module", "module-null-sink", "sink_name=headset")
    choose(server, "headset")
    OwnSink(tmp_path / "note", server).close()
    eventually(lambda: default(server) == "headset", "the headset is the default again")
    assert "headset" in configured(server)
    with OwnSink(tmp_path / "note", server):
        choose(server, SPEAKERS)
    assert SPEAKERS in configured(server)
    eventually(lambda: default(server) == SPEAKERS, "who chose another has it")


@pytest.mark.parametrize("holder_too", [False, True])
def test_a_host_that_is_killed_leaves_no_sink_and_the_former_default(
    server: Mapping[str, str], tmp_path: Path, holder_too: bool
) -> None:
    ask(server, "pactl", "load-module", "module-null-sink", "sink_name=headset")
    choose(server, "headset")
    with subprocess.Popen(
        [sys.executable, "-c", _HOST, str(tmp_path / "note")],
        env={**os.environ, **server, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
    ) as host:
        assert host.stdout is not None
        try:
            holder = int(host.stdout.readline())
            assert default(server) == SINK
            if holder_too:
                os.kill(holder, signal.SIGKILL)
        finally:
            host.kill()
            host.wait(PATIENCE_S)
    eventually(lambda: SINK not in sinks(server), "the sink has gone")
    if holder_too:
        assert SINK in configured(server), "nobody is left who could have put it back"
        restore_left(tmp_path / "note", server)
    eventually(lambda: "headset" in configured(server), "the headset is chosen again")
    eventually(lambda: default(server) == "headset", "and the default")
    eventually(lambda: not (tmp_path / "note").exists(), "nothing is left to be done")


def test_a_server_that_is_just_being_restarted_is_asked_until_it_answers(
    server: Mapping[str, str], tmp_path: Path
) -> None:
    """Between two questions it may end: the first and the third are not answered."""
    asking = tmp_path / "bin" / "pw-metadata"
    asking.parent.mkdir()
    asking.write_text(
        "#!/bin/sh\n"
        f"echo asked >> {tmp_path / 'asked'}\n"
        f"case $(wc -l < {tmp_path / 'asked'}) in 1 | 3) exit 1; esac\n"
        f'exec {shutil.which("pw-metadata")} "$@"\n'
    )
    asking.chmod(0o755)
    choose(server, SPEAKERS)
    env = {**server, "PATH": f"{asking.parent}:{server['PATH']}"}
    with OwnSink(tmp_path / "note", env):
        assert default(server) == SINK
    assert SPEAKERS in configured(server)
    eventually(lambda: default(server) == SPEAKERS, "the speakers play again")


@pytest.mark.slow
def test_a_host_has_the_sink_while_somebody_listens_and_nobody_elses_speakers(
    server: Mapping[str, str],
    restarts: list[Callable[[], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("XDG_RUNTIME_DIR", "PULSE_SERVER"):
        monkeypatch.setenv(name, server[name])
    board = Blackboard(outputs=2)
    board.sound = SoundPlace("", "@DEFAULT_MONITOR@")
    client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE)

    async def scenario() -> None:
        async with punktfunk.Host(host_config(), desktop=DesktopPool(board)) as host:
            wanted = True
            host.sessions.peripherals.own_sinks = OwnSinks(tmp_path / "note", lambda: wanted)
            place = f"127.0.0.1:{host.port}"
            async with punktfunk.Client(place, client_config):
                await soon(lambda: default(server) == SINK, "it plays into the sink")
                await soon(lambda: host.live()[0].datagrams["audio_sent"], "it is heard")
                async with punktfunk.Client(place, client_config):
                    await soon(lambda: len(host.live()) == 2, "two listen")
                await soon(lambda: len(host.live()) == 1, "one still listens")
                assert default(server) == SINK
                [report] = host.live()
                # Asked for from before on: there may be sound again before the restart is over.
                told = asyncio.ensure_future(
                    soon(lambda: "no sound" in report.notices.get("sound", ""), "it is told")
                )
                await asyncio.to_thread(restarts[0])
                await told
                await soon(lambda: "sound" not in report.notices, "there is sound again")
                await soon(lambda: default(server) == SINK, "what plays goes to the sink again")
            await soon(lambda: default(server) == SPEAKERS, "the speakers play again")
            await soon(lambda: not host.live(), "nobody streams")
            wanted = False
            async with punktfunk.Client(place, client_config):
                await soon(lambda: host.live() and host.live()[0].datagrams["audio_sent"], "it is heard")
                assert default(server) == SPEAKERS
            await host.sessions.peripherals.own_sinks.close()

    asyncio.run(asyncio.wait_for(scenario(), 90))
    assert sinks(server) == [SPEAKERS]


def test_a_server_that_is_not_there_makes_no_sink(need_tool: Callable[..., str], tmp_path: Path) -> None:
    need_tool("pw-cli", "pipewire-bin")
    nowhere = {"XDG_RUNTIME_DIR": str(tmp_path), "PULSE_SERVER": f"unix:{tmp_path}/nothing"}
    with pytest.raises(DesktopError, match="makes no sink"):
        OwnSink(tmp_path / "note", nowhere)
    assert not (tmp_path / "note").exists()


def audible(env: Mapping[str, str], source: str) -> bool:
    """Whether a tenth of a second of it has anything in it."""
    with PulseCapture(env["PULSE_SERVER"], source) as capture:
        return any(capture.read().samples.any() for _ in range(20))
