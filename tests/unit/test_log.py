"""Logs go to one stream as JSON or text, and no secret gets into them (promise P13)."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from punktfunk import log
from punktfunk.native.handshake import Welcome, WireMode
from punktfunk.trust.identity import Identity, Role


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure(json=True, stream=stream)
    yield stream
    log.reset()


KEY = bytes(range(0xA0, 0xB0))


@pytest.mark.parametrize(
    "fields",
    [
        {"key": KEY.hex()},
        {"session_key": KEY},
        {"salt": "70a06b66"},
        {"pin": "4321"},
        {"event_text": f"armed with {KEY.hex()}"},
        {"offer": {"nested": [{"key": KEY.hex()}]}},
        {"raw": KEY},
        {"header": "Bearer abcdefghijkl"},
        {"management_token": "abcdefghijkl"},
        {"welcome": Welcome(mode=WireMode(2, 2, 1), udp_port=1, key=KEY, salt=b"\x70\xa0\x6b\x66")},
    ],
)
def test_no_secret_reaches_the_log(written: io.StringIO, fields: dict[str, object]) -> None:
    log.get("test").info("something happened", **fields)
    text = written.getvalue()
    assert json.loads(text)["event"] == "something happened"
    for secret in (KEY.hex(), repr(KEY), str(KEY), "70a06b66", "4321", "abcdefghijkl"):
        assert secret not in text


def test_a_private_key_in_an_exception_is_scrubbed(written: io.StringIO) -> None:
    pem = Identity.generate(Role.CLIENT)._key_pem().decode()
    try:
        int(pem)
    except ValueError:
        log.get("test").exception("failed")
    assert "PRIVATE KEY" not in written.getvalue()
    assert pem.splitlines()[1] not in written.getvalue()
    assert "invalid literal" in written.getvalue()


def test_fingerprints_and_plain_values_stay_readable(written: io.StringIO) -> None:
    log.get("host").info("client joined", fingerprint="ab" * 32, frames=300, key_interval=2, source=None)
    entry = json.loads(written.getvalue())
    assert entry["fingerprint"] == "ab" * 32
    assert (entry["frames"], entry["key_interval"], entry["source"], entry["concern"]) == (
        300,
        2,
        None,
        "host",
    )


def test_debug_lines_are_written_only_at_that_level() -> None:
    stream = io.StringIO()
    log.configure(json=True, stream=stream)
    log.get("test").debug("detail")
    assert not stream.getvalue()
    log.configure(json=True, stream=stream, level="debug")
    log.get("test").debug("detail")
    assert "detail" in stream.getvalue()
    log.reset()


def test_a_standard_error_that_was_swapped_and_closed_does_not_silence_later_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    substitute, later = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", substitute)
    log.configure(level="info", json=True)
    substitute.close()
    monkeypatch.setattr(sys, "stderr", later)
    log.get("host").info("still here")
    assert "still here" in later.getvalue()


def test_lines_for_the_journal_have_a_priority_each_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with path.open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert log.is_journal(stream)
        log.configure(stream=stream)
        try:
            log.get("host").info("listening", port=9777, name="a\nb", session_key=KEY.hex())
            log.get("host").warning("gone")
            try:
                int("x")
            except ValueError:
                log.get("worker").exception("failed")
        finally:
            log.reset()
    written = path.read_text(encoding="utf-8").splitlines()
    assert written[0] == f'<6>host: listening port=9777 name="a\\\\nb" session_key={json.dumps(log.SCRUBBED)}'
    assert written[1] == "<4>host: gone"
    assert written[2] == "<3>worker: failed"
    assert written[3] == "<3>Traceback (most recent call last):"
    assert all(line.startswith("<3>") for line in written[2:])


def test_another_stream_than_that_of_the_journal_gets_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        for said in ("", "x", f"{found.st_dev}:{found.st_ino + 1}", f"{found.st_dev + 1}:{found.st_ino}"):
            monkeypatch.setenv("JOURNAL_STREAM", said)
            assert not log.is_journal(stream)
        log.configure(stream=stream)
        log.get("host").info("listening")
        log.reset()
        stream.seek(0)
        assert json.loads(stream.read())["event"] == "listening"
    assert not log.is_journal(stream), "a closed one"
    assert not log.is_journal(io.StringIO())
