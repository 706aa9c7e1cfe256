"""A client with a window but without a screen: SDL's dummy display, missing parts, and the file beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "punktfunk"]


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program to its end."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "XDG_CONFIG_HOME": str(tmp_path),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host that shows the test card for 45 frames, however long they take; its address."""
    process = subprocess.Popen(
        [
            *COMMAND,
            "host",
            "--open",
            "--port",
            "0",
            "--codec",
            "h264",
            "--bitrate",
            "6 Mbit/s",
            "--frames",
            "45",
        ],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("host")),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield f"127.0.0.1:{process.stdout.readline().split()[-1]}"
    process.terminate()
    process.communicate(timeout=PATIENCE_S)


def test_a_stream_without_a_screen_is_presented_to_sdls_dummy_display_and_written_to_a_file(
    host: str, call: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    pytest.importorskip("sdl2")
    out = tmp_path / "stream.h264"
    done = call(
        *["connect", host, "--present", "--mode", "640x360@30", "--seconds", "60", "--out", str(out)],
        SDL_VIDEODRIVER="dummy",
    )
    assert done.returncode == 0, done.stderr
    assert f"of coded video in {out}" in done.stdout
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 10
    before = out.read_bytes()
    again = call("connect", host, "--out", str(out))
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert "--overwrite" in again.stderr
    assert out.read_bytes() == before


def test_a_window_that_cannot_be_opened_ends_with_status_4_or_its_reason(
    host: str, call: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pytest.importorskip("sdl2")
    done = call("connect", host, "--present", "--seconds", "2", SDL_VIDEODRIVER="no-such-driver")
    assert done.returncode != 0
    assert "no display answers" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_without_pysdl2_present_names_the_package_that_brings_it(
    call: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sdl2.py").write_text("raise ImportError(\"No module named 'sdl2'\")\n")
    done = call("connect", "127.0.0.1:9", "--present", PYTHONPATH=f"{hidden}:{REPOSITORY}")
    assert done.returncode == 4
    assert "pip install 'punktfunk[present]'" in done.stderr


@pytest.mark.parametrize(
    ("where", "cause"), [("missing/file.h264", "cannot be written"), (".", "is a folder")]
)
def test_an_output_that_cannot_be_written_is_found_before_the_host_is_asked(
    where: str, cause: str, call: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = call("connect", "127.0.0.1:9", "--out", str(tmp_path / where))
    assert done.returncode in (2, 5)
    assert cause in done.stderr
    assert "Traceback" not in done.stderr
