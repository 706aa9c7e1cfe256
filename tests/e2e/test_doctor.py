"""``punktfunk doctor``: what a machine can do, told by its parts, and told again when a part is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from punktfunk.host.doctor import Line, consult, verdict
from punktfunk.media.encoders import EncoderProbe

REPOSITORY = Path(__file__).parents[2]


def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "punktfunk", "doctor", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_missing_is_named_with_what_brings_it(tmp_path: Path) -> None:
    done = call(PATH=str(tmp_path), WAYLAND_DISPLAY="")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    headless = next(number for number, line in enumerate(lines) if line.startswith("desktop, headless"))
    assert " no   sway is not installed" in lines[headless]
    assert lines[headless + 1].strip() == "→ apt-get install sway"
    assert "→ apt-get install pipewire wireplumber pipewire-pulse" in done.stdout
    assert lines[-1] == "punktfunk serve would stream the test card: there is no desktop"


def test_programs_get_the_same_as_json() -> None:
    told = json.loads(call("--json").stdout)
    assert [line["what"] for line in told] == [line.what for line in consult()]
    assert all(line["reason"] for line in told)
    assert {line["what"] for line in told} >= {"sound", "gamepads", "h264 in software", "h264 on the GPU"}


def test_a_machine_without_an_encoder_streams_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from punktfunk.host import doctor
    from punktfunk.media import available_encoders

    none = tuple(EncoderProbe(one.name, one.codec, False, "it does not open") for one in available_encoders())
    monkeypatch.setattr(doctor, "available_encoders", lambda: none)
    lines = consult()
    assert verdict(lines) == "nothing can be streamed here"
    assert [line.what for line in lines if line.essential and not line.ok] == ["h264 in software"]


def test_a_session_that_runs_is_streamed_before_one_of_our_own() -> None:
    both = [Line("desktop, attached", True, "here"), Line("desktop, headless", True, "here")]
    assert "the session that runs" in verdict(both)
    assert "headless sway" in verdict(both[1:])
