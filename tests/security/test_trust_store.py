"""Promise P7: one trust list, atomic, 0600; a failed write is never a success."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from punktfunk.errors import TrustStoreError
from punktfunk.host.trust import PairedClient, TrustStore
from punktfunk.printable import device_name

ONE = PairedClient("1" * 64, "one", "native", 10)
TWO = PairedClient("2" * 64, "two", "gamestream", 20, "-----BEGIN CERTIFICATE-----\n")


def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "trust.json"
    store = TrustStore(path)
    store.add(ONE)
    store.add(TWO)
    again = TrustStore(path)
    assert again.clients() == (ONE, TWO)
    assert again.clients("gamestream") == (TWO,)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["trust.json"]


def test_removal_tells_the_listeners_after_it_is_on_disk(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(ONE)
    seen: list[tuple[str, int]] = []
    end = store.on_removal(lambda fp: seen.append((fp, len(TrustStore(store.path).clients()))))
    assert store.remove(ONE.fingerprint.upper())
    assert not store.remove(ONE.fingerprint)
    end()
    store.add(ONE)
    store.remove(ONE.fingerprint)
    assert seen == [(ONE.fingerprint, 0)]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"clients": []}', '{"schema_version": 99, "clients": []}',
     '{"schema_version": 1, "clients": [{}]}',
     '{"schema_version": 1, "clients": [{"fingerprint": "zz", "name": "x"}]}', "[" * 100_000,
     '{"schema_version": 1, "clients": [{"fingerprint": "%s", "name": "x", "paired_unix_s": 1e999}]}' % ("a" * 64),
     '{"schema_version": 1, "clients": [{"fingerprint": "%s", "name": "", "certificate_pem": "\\ud800"}]}'
     % ("a" * 64)],
)  # fmt: skip
def test_a_damaged_file_is_an_error_never_an_empty_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trust.json"
    path.write_text(text)
    for _ in range(2):  # also at the second start
        with pytest.raises(TrustStoreError, match="damaged"):
            TrustStore(path)
    (aside,) = tmp_path.glob("trust.json.corrupt-*")
    assert aside.read_text() == text == path.read_text()


def test_a_failed_write_leaves_list_and_file_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(ONE)
    before = store.path.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(TrustStoreError, match="No space left"):
        store.add(TWO)
    with pytest.raises(TrustStoreError, match="No space left"):
        store.remove(ONE.fingerprint)
    assert store.clients() == (ONE,)
    assert store.path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["trust.json"]


def test_the_file_is_never_followed_through_a_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".trust.json.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(TrustStoreError):
        TrustStore(tmp_path / "trust.json").add(ONE)
    assert victim.read_text() == "precious"


def test_names_lose_what_a_terminal_or_a_page_would_act_on() -> None:
    assert device_name("\x1b[2Jliving\u202e  room\r\n\x00") == "[2Jliving room"
    assert device_name("\u200b\u2066") == "unnamed device"
    assert device_name("é" * 100) == "é" * 64


def test_the_file_says_its_schema_version(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(ONE)
    assert json.loads(store.path.read_text())["schema_version"] == 1


def test_a_list_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    TrustStore(tmp_path / "trust.json").add(ONE)
    for mode in (0o620, 0o602):
        (tmp_path / "trust.json").chmod(mode)
        with pytest.raises(TrustStoreError, match="others can write"):
            TrustStore(tmp_path / "trust.json")


def test_a_name_that_was_edited_into_the_file_can_be_shown_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    entry = f'{{"fingerprint": "{"a" * 64}", "name": "desk\\ud800\\u001b[31m"}}'
    path.write_text(f'{{"schema_version": 1, "clients": [{entry}]}}')
    store = TrustStore(path)
    assert [client.name for client in store.clients()] == ["desk[31m"]
    store.add(ONE)
    assert len(TrustStore(path).clients()) == 2
