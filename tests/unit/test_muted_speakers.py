"""Speakers that were muted for a stream play again, whatever becomes of the host and of the sound server meanwhile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from punktfunk.desktop.audio import speakers
from punktfunk.desktop.audio.speakers import MutedSpeakers
from punktfunk.errors import DesktopError
from tests.support.waiting import eventually

_PACTL = """\
#!/bin/sh
# Mutes at once, and answers only once somebody writes to the gate.
case "$1" in
info) echo "Server Name: PulseAudio (on PipeWire 1.0.0)" ;;
get-default-sink) echo sink ;;
get-sink-mute) echo "Mute: no" ;;
set-sink-mute)
    echo "$3" >> "$SOUND/mutes"
    if [ "$3" = 1 ]; then echo muted > "$SOUND/begun"; read -r _ < "$SOUND/gate"; fi ;;
esac
"""


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sound server that has muted its speakers and does not say so."""
    pactl = tmp_path / "pactl"
    pactl.write_text(_PACTL)
    pactl.chmod(0o755)
    for name in ("begun", "gate"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SOUND", str(tmp_path))
    return tmp_path


def mutes(sound: Path) -> list[str]:
    """Return what the speakers were told so far, which may be nothing yet."""
    told = sound / "mutes"
    return told.read_text().split() if told.exists() else []


def test_speakers_play_again_whose_host_was_killed_before_it_knew_that_they_are_muted(sound: Path) -> None:
    order = ["sh", "-c", speakers._HOLD, "sh", "sink"]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert (sound / "begun").read_text() == "muted\n"
        assert holder.stdin is not None
        assert holder.stdout is not None
        # What is left of a killed host: both its ends are closed.
        holder.stdin.close()
        holder.stdout.close()
        (sound / "gate").write_text("go on\n")
        holder.wait(30)
    assert mutes(sound) == ["1", "0"]


def test_a_sound_server_that_hangs_holds_nobody_up_and_leaves_the_speakers_playing(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers, "_MUTE_LIMIT_S", 0.05)
    # A pipe that is open both ways waits for nobody.
    begun, gate = (os.open(sound / name, os.O_RDWR) for name in ("begun", "gate"))
    try:
        with pytest.raises(DesktopError, match="does not mute sink"):
            MutedSpeakers()
        os.write(gate, b"go on\n")
        eventually(lambda: mutes(sound) == ["1", "0"], "the speakers play again")
    finally:
        os.close(begun)
        os.close(gate)
