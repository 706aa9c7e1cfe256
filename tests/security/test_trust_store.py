"""Promise P7: one trust list, atomic, 0600; a failed write is never a success."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from punktfunk.errors import TrustStoreError
from punktfunk.host.trust import PairedClient, TrustStore, scrub_name

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
     '{"schema_version": 1, "clients": [{"fingerprint": "zz", "name": "x"}]}'],
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
    assert scrub_name("\x1b[2Jliving\u202e  room\r\n\x00") == "[2Jliving room"
    assert scrub_name("\u200b\u2066") == "unnamed device"
    assert scrub_name("é" * 100) == "é" * 64


def test_the_file_says_its_schema_version(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(ONE)
    assert json.loads(store.path.read_text())["schema_version"] == 1
