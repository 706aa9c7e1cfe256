"""A key log is written where SSLKEYLOGFILE names a file that nobody else can read, and nowhere otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.dissect import keys as keys_module
from harness.dissect.keys import Keys, StreamKey
from punktfunk import key_log
from punktfunk.errors import UsageError
from punktfunk.log_ring import LogRing
from punktfunk.native.dialect import Dialect
from punktfunk.native.quic_connection import client_connection
from punktfunk.trust.identity import Identity, Role

CLIENT = Identity.generate(Role.CLIENT)


@pytest.fixture(autouse=True)
def opened_anew() -> Iterator[None]:
    key_log.key_log.cache_clear()
    yield
    key_log.key_log.cache_clear()


def log_file_of_a_connection() -> object:
    return client_connection(CLIENT, Dialect.PKF1, None).configuration.secrets_log_file


def warnings(ring: LogRing) -> list[tuple[str, object]]:
    return [(entry.event, entry.fields.get("why")) for entry in ring.entries() if entry.level == "warning"]


def test_without_the_variable_nothing_is_written_or_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: LogRing
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (None, ""):
        monkeypatch.delenv(key_log.VARIABLE, raising=False)
        if value is not None:
            monkeypatch.setenv(key_log.VARIABLE, value)
        assert log_file_of_a_connection() is None
        assert list(key_log.examine()) == []
        key_log.key_log.cache_clear()
    assert list(tmp_path.iterdir()) == []
    assert warnings(ring) == []


def test_with_it_lines_are_appended_to_a_file_of_its_owner_and_the_log_and_the_doctor_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: LogRing
) -> None:
    file = tmp_path / "keys.log"
    monkeypatch.setenv(key_log.VARIABLE, str(file))
    [before] = key_log.examine()
    assert before.ok
    assert "ON, by SSLKEYLOGFILE" in before.detail
    written = key_log.key_log()
    assert written is not None
    assert log_file_of_a_connection() is written, "one for all connections"
    assert file.stat().st_mode & 0o777 == 0o600
    written.write("A 00 11\n")
    with file.open("a") as other:
        other.write("of another program\n")
    written.write("B 22 33\n")
    written.flush()
    assert file.read_text() == "A 00 11\nof another program\nB 22 33\n"
    assert warnings(ring) == [("session secrets are written", None)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_not_written_and_the_reason_has_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: LogRing, mode: int
) -> None:
    file = tmp_path / "keys.log"
    file.touch()
    file.chmod(mode)
    monkeypatch.setenv(key_log.VARIABLE, str(file))
    assert log_file_of_a_connection() is None
    [(event, why)] = warnings(ring)
    assert event == "session secrets are not written"
    assert f"mode {mode:04o}): chmod 600 {file}" in str(why)
    [found] = key_log.examine()
    assert (found.ok, found.detail) == (False, str(why))


def test_links_fifos_and_folders_are_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: LogRing
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "target").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("fifo", "link", ".", "gone/keys.log"):
        monkeypatch.setenv(key_log.VARIABLE, str(tmp_path / name))
        key_log.key_log.cache_clear()
        assert key_log.key_log() is None, name
        [found] = key_log.examine()
        assert not found.ok, name
    assert {event for event, _why in warnings(ring)} == {"session secrets are not written"}


def test_the_key_of_a_gamestream_session_is_a_line_that_dissect_reads_and_wireshark_passes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "keys.log"
    monkeypatch.delenv(key_log.VARIABLE, raising=False)
    key_log.note_rikey(5, bytes(16))
    key_log.key_log.cache_clear()
    monkeypatch.setenv(key_log.VARIABLE, str(file))
    key_log.note_rikey(-2, bytes(range(16)))
    assert file.read_text() == f"PUNKTFUNK_RIKEY {'0' * 56}fffffffe 000102030405060708090a0b0c0d0e0f\n"
    keys = Keys()
    keys.read(file)
    assert [key.key for key in keys.streams] == [bytes(range(16))]


def test_a_full_disk_ends_the_key_log_and_not_the_handshake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: LogRing
) -> None:
    monkeypatch.setenv(key_log.VARIABLE, str(tmp_path / "keys.log"))
    written = key_log.key_log()
    assert written is not None

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert written.write("A 00 11\n") == 8
    assert written.write("B 22 33\n") == 8
    monkeypatch.undo()
    assert warnings(ring)[1:] == [("session secrets are not written", "No space left on device")], "once"


def test_of_too_many_secrets_and_keys_the_newest_are_kept_and_those_that_were_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A log that a machine has appended to for months: the session of today is at its end."""
    monkeypatch.setattr(keys_module, "MAX_SECRETS", 3)
    monkeypatch.setattr(keys_module, "MAX_KEYS", 3)
    keys, secret = Keys(), "5" * 64
    named = f"{0xFE:032x}"
    keys.name(named)
    lines = [f"CLIENT_TRAFFIC_SECRET_0 {n:064x} {secret}".encode() for n in (1, 2, 1, 3, 4)]
    assert keys.take(lines) == 5
    kept = [n for n in range(6) if keys.secret(n.to_bytes(32, "big"), "CLIENT_TRAFFIC_SECRET_0")]
    assert kept == [1, 3, 4], "said again is newer"
    assert keys.left_out == 1
    keys.take(f"{key_log.RIKEY} {n:064x} {n:032x}".encode() for n in range(5))
    assert [int.from_bytes(key.key, "big") for key in keys.streams] == [0xFE, 3, 4]
    keys.name(f"{0xFD:032x}")
    keys.name(f"{4:032x}")
    assert [int.from_bytes(key.key, "big") for key in keys.streams] == [0xFE, 0xFD, 4]
    keys.name(named)
    keys.add(StreamKey(bytes(16)))
    assert [int.from_bytes(key.key, "big") for key in keys.streams] == [0xFE, 0xFD, 4], (
        "all of them were named"
    )
    with pytest.raises(UsageError, match="more than 3 keys were named"):
        keys.name(f"{0xFC:032x}")
