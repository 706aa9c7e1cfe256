"""The ``punktfunk`` program: what it prints, and with which status it leaves."""

from __future__ import annotations

import ctypes.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "punktfunk"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "200"}


def call(home: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=REPOSITORY,
        env=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def serving(home: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A host with one synthetic session to give: its process, address and fingerprint."""
    options = [
        "host",
        "--open",
        "--port",
        "0",
        "--source",
        "synthetic",
        "--frames",
        "180",
        "--frame-bytes",
        "4000",
        "--sessions",
        "1",
    ]
    process = subprocess.Popen(
        [*COMMAND, *options],
        cwd=REPOSITORY,
        env=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    port = re.search(r"port (\d+)", first)
    assert port is not None, process.communicate()
    yield process, f"127.0.0.1:{port[1]}", second.split()[1]
    process.kill()
    process.communicate()


def test_a_host_and_a_client_verify_three_seconds_of_frames(
    serving: tuple[subprocess.Popen[str], str, str], home: dict[str, str], tmp_path: Path
) -> None:
    process, address, fingerprint = serving
    done = call(home, "connect", address, "--pin", fingerprint, "--record", str(tmp_path / "record"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "verification of 180 frames 1280x720@60, FEC GF16 20 %"
    # Beside other programs the clock rounds may leave an error above the latency of loopback: "<0.90 ms" then.
    assert any(re.search(r"\d+ fps .* Mbit/s  latency p50 <?\d", line) for line in lines), done.stdout
    assert lines[-1] == "verification passed: 180 of 180 frames intact, 0 corrupted · verified"
    assert (tmp_path / "record" / "records.npz").exists()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert err == ""
    assert "session 1 127.0.0.1 1280x720@60: 180 frames" in out


def test_a_wrong_pin_ends_with_status_1_and_what_to_do(
    serving: tuple[subprocess.Popen[str], str, str], home: dict[str, str]
) -> None:
    done = call(home, "connect", serving[1], "--pin", "ab" * 32)
    assert done.returncode == 1
    cause, step = done.stderr.splitlines()
    assert cause.startswith("error: ")
    assert "does not have the pinned certificate [PF430]" in cause
    assert step.startswith("  → ")


@pytest.mark.parametrize(
    ("arguments", "status", "cause"),
    [
        (["host"], 2, "no client could connect"),
        (["host", "--open", "--bind", "*"], 1, "open trust is for loopback"),
        (["host", "--open", "--bind", "den"], 2, "no address: name one of this machine, or * for all"),
        (["host", "--open", "--source", "file"], 2, "needs --file"),
        (["host", "--open", "--bitrate", "5 MB/s"], 2, "counts bytes"),
        (["host", "--open", "--mode", "1280x720"], 2, "mode"),
        (["host", "--open", "--fec", "80"], 2, "fec_percent"),
        (["host", "--trust", "xyz"], 2, "is not a fingerprint"),
        (["serve", "--keyboard-layout", "de(neo)", "--check"], 2, "'de(neo)' is no keyboard layout"),
        (["serve", "--keyboard-layout", "de:klingon", "--check"], 2, "layout 'de' with variant 'klingon'"),
        (["connect", "no/address"], 2, "is not an IP address"),
        (["connect", "localhost:70000"], 2, "is not a UDP port"),
        (["connect", "192.0.2.1"], 1, "open trust is for loopback"),
        (["connect", "127.0.0.1:1"], 5, "nothing listens on that port"),
        (["bogus"], 2, "No such command"),
    ],
)
def test_mistakes_end_with_the_status_of_their_kind_and_one_line_of_cause(
    arguments: list[str], status: int, cause: str, home: dict[str, str]
) -> None:
    done = call(home, *arguments)
    assert done.returncode == status, done.stderr
    assert cause in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gpus_encoder_that_is_not_there_is_refused_before_anybody_connects(home: dict[str, str]) -> None:
    if ctypes.util.find_library("cuda") is not None:
        pytest.skip("this machine has NVIDIA's driver")
    done = call(home, "host", "--open", "--port", "0", "--encoder", "nvenc")
    assert done.returncode == 4
    assert "no NVIDIA driver" in done.stderr
    assert "[PF211]" in done.stderr


def test_version_names_program_core_and_wire(home: dict[str, str]) -> None:
    done = call(home, "version")
    assert done.returncode == 0
    assert re.fullmatch(r"punktfunk .* · core \d+\.\d+\.\d+ \(ABI \d+\) · wire punktfunk/1\n", done.stdout)


def test_identities_are_kept_in_the_state_folder(
    serving: tuple[subprocess.Popen[str], str, str], home: dict[str, str], tmp_path: Path
) -> None:
    assert (tmp_path / "punktfunk" / "cert.pem").exists()
    assert (tmp_path / "punktfunk" / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_command_pays_for_no_other_one_and_none_for_the_server_of_the_api() -> None:
    servers = {"fastapi", "uvicorn", "argon2", "prometheus_client", "zeroconf", "spake2", "rich"}
    codecs_and_arrays = {"av", "numpy"}
    of_single_commands = {
        "punktfunk.host.service",
        "punktfunk.client.service",
        "punktfunk.desktop.session",
        "pywayland",
    }
    code = f"import punktfunk.cli, sys; print({servers | codecs_and_arrays | of_single_commands} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("module", "not_loaded"),
    [
        (
            "punktfunk.host.stream.worker",
            {"numpy", "av", "structlog", "rich", "asyncio", "cryptography", "aioquic"},
        ),
        (
            "punktfunk.client.worker",
            {"numpy", "av", "structlog", "rich", "asyncio", "cryptography", "aioquic", "sdl2", "pydantic"},
        ),
        (
            "punktfunk.host.json_lines",
            {"numpy", "av", "structlog", "rich", "zeroconf", "fastapi", "pywayland", "spake2"},
        ),
        ("punktfunk.client.json_lines", {"numpy", "av", "structlog", "rich", "zeroconf", "sdl2"}),
        (
            "punktfunk.host.serve",
            {"numpy", "av", "structlog", "rich", "pywayland", "spake2", "punktfunk.desktop.backends"},
        ),
    ],
)
def test_a_process_begins_without_what_it_may_never_need(module: str, not_loaded: set[str]) -> None:
    """Codecs, arrays and servers take longer to load than all else: a stream of checkable bytes needs none of them."""
    code = f"import {module}, sys; print({not_loaded} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_program_collects_no_garbage_while_it_loads_nor_when_it_ends(home: dict[str, str]) -> None:
    """Each collection would look through all that was loaded: a quarter of the CPU time of a start and an end."""
    code = (
        "import atexit, gc, sys; from punktfunk.__main__ import main; sys.argv = ['punktfunk', 'version'];"
        "gc.callbacks.append(lambda phase, about: print(phase, about));"
        "atexit.register(lambda: print('frozen', gc.get_freeze_count())); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=home, capture_output=True, text=True, check=True
    )
    said, frozen, *_interpreters_own = done.stdout.splitlines()
    assert said.startswith("punktfunk "), "a collection"
    assert int(frozen.removeprefix("frozen ")) > 50_000, (
        "what the interpreter's own collection at the end leaves out"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["discover", "--interface", "nope"], "no address"),
        (["host", "--open", "--source", "file", "--file", "absent.mkv"], "no file absent.mkv"),
    ],
)
def test_what_is_not_there_is_named_before_anything_starts(
    home: dict[str, str], arguments: list[str], words: str
) -> None:
    done = call(home, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
