"""Promise P7: one trust list, atomic, 0600; a failed write is never a success."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from punktfunk.errors import TrustStoreError
from punktfunk.printable import device_name
from punktfunk.trust.store import MAX_CLIENTS, MAX_FILE_BYTES, PairedClient, TrustStore

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
    ["", "{", "[]", '{"clients": []}',
     '{"schema_version": 1, "clients": {}}', '{"schema_version": 1, "clients": ""}',
     '{"schema_version": 99, "clients": []}',
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


@pytest.mark.parametrize("wire", ["", "Echo", "echo 2", "2nd", "é", "a" * 33, "echo\n"])
def test_no_client_is_written_whose_wire_could_not_be_read_again(tmp_path: Path, wire: str) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(ONE)
    with pytest.raises(TrustStoreError, match="is no name of a wire"):
        store.add(replace(TWO, wire=wire))
    assert store.clients() == TrustStore(store.path).clients() == (ONE,)


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


LETTERS = PairedClient("ab" * 32, "three", "native", 30)


def _refused(path: Path) -> tuple[str, str]:
    with pytest.raises(TrustStoreError) as refused:
        TrustStore(path)
    return refused.value.cause, refused.value.hint


def test_a_fingerprint_is_found_and_removed_in_either_case(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(LETTERS)
    seen: list[str] = []
    store.on_removal(seen.append)
    assert store.find("aB" * 32) == store.find("ab" * 32) == store.find("AB" * 32) == LETTERS
    assert store.find("ac" * 32) is None
    assert store.remove("Ab" * 32)
    assert seen == ["ab" * 32]
    assert store.find("ab" * 32) is None


@pytest.mark.parametrize("fingerprint", ["AB" * 32, "1" * 63, "1" * 65, "g" * 64, "", "\u0661" * 64])
def test_what_is_no_fingerprint_is_refused_and_not_written(tmp_path: Path, fingerprint: str) -> None:
    store = TrustStore(tmp_path / "trust.json")
    with pytest.raises(TrustStoreError, match="is not a SHA-256 fingerprint in lowercase hex"):
        store.add(PairedClient(fingerprint, "x", "native", 10))
    assert not store.path.exists()


def test_an_error_shows_eighty_characters_of_what_is_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError) as refused:
        TrustStore(tmp_path / "trust.json").add(PairedClient("123456789-" * 10, "x", "native", 10))
    assert refused.value.cause == f"'{'123456789-' * 8}' is not a SHA-256 fingerprint in lowercase hex"


def test_the_list_takes_its_cap_and_not_one_more_but_replaces_an_entry_when_full(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    entries = [{"fingerprint": f"{n:064x}", "name": "x"} for n in range(MAX_CLIENTS - 1)]
    path.write_text(json.dumps({"schema_version": 1, "clients": entries}))
    path.chmod(0o600)
    store = TrustStore(path)
    store.add(ONE)
    with pytest.raises(TrustStoreError) as refused:
        store.add(TWO)
    assert (refused.value.cause, refused.value.hint) == (
        "1024 clients are paired already",
        "unpair one that is not used",
    )
    again = PairedClient(ONE.fingerprint, "another name", "native", 11)
    store.add(again)
    assert TrustStore(path).find(ONE.fingerprint) == again
    assert len(TrustStore(path).clients()) == MAX_CLIENTS


def test_a_person_can_read_and_edit_the_file(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(PairedClient("c" * 64, "Büro", "native", 1_700_000_000))
    assert store.path.read_text() == (
        "{\n"
        '  "schema_version": 1,\n'
        '  "clients": [\n'
        "    {\n"
        f'      "fingerprint": "{"c" * 64}",\n'
        '      "name": "Büro",\n'
        '      "plane": "native",\n'
        '      "paired_unix_s": 1700000000,\n'
        '      "certificate_pem": ""\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_an_entry_needs_no_more_than_its_fingerprint_and_its_name(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_text('{"schema_version": 1, "clients": [{"fingerprint": "%s", "name": "tv"}]}' % ("AB" * 32))
    assert TrustStore(path).clients() == (PairedClient("ab" * 32, "tv", "native", 0, ""),)


def test_a_client_of_a_wire_that_this_release_does_not_serve_stays_one_of_that_wire(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    store = TrustStore(path)
    store.add(PairedClient("ab" * 32, "tv", "a-later-wire-of-32-bytes-at-most", 7))
    assert TrustStore(path).clients("a-later-wire-of-32-bytes-at-most") == store.clients()
    assert TrustStore(path).clients("native") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "not an object"),
        ('{"schema_version": 0, "clients": []}', "schema version 0 is not known to this release"),
        ('{"schema_version": 2, "clients": []}', "schema version 2 is not known to this release"),
        ('{"schema_version": "1", "clients": []}', "schema version '1' is not known to this release"),
        ('{"schema_version": 1, "clients": {}}', "the clients are not a list"),
        (
            '{"schema_version": 1, "clients": [{"fingerprint": "1", "name": ""}]}',
            "an entry has no SHA-256 fingerprint",
        ),
        (
            '{"schema_version": 1, "clients": [{"fingerprint": "%s", "name": "", "certificate_pem": "ü"}]}'
            % ("a" * 64),
            "an entry's certificate is no PEM",
        ),
        *(
            (
                json.dumps(
                    {
                        "schema_version": 1,
                        "clients": [{"fingerprint": "a" * 64, "name": "", "plane": plane}],
                    }
                ),
                "an entry's plane is no name",
            )
            for plane in ("", "Native", "a" * 33, "native\n", None, 7)
        ),
    ],
)
def test_the_error_for_a_damaged_file_says_what_is_damaged_where_the_copy_is_and_what_to_do(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "trust.json"
    path.write_text(text)
    cause, hint = _refused(path)
    (aside,) = tmp_path.glob("trust.json.corrupt-*")
    assert cause == f"the list of paired clients {path} is damaged ({why}); a copy is kept in {aside.name}"
    assert hint == f"restore it from a backup, or delete {path} to start with no paired client"
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


def test_each_damaged_file_is_kept_under_a_name_of_its_own_content(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    for text in ("[]", "{", "[]"):
        path.write_text(text)
        _refused(path)
    # As sha256sum prints them.
    assert {p.name for p in tmp_path.glob("*.corrupt-*")} == {
        "trust.json.corrupt-4f53cda1",
        "trust.json.corrupt-021fb596",
    }


def test_a_damaged_file_that_cannot_be_copied_is_still_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trust.json"
    path.write_text("{")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    assert _refused(path) == (
        f"cannot write {tmp_path / 'trust.json.corrupt-021fb596'}: No space left on device",
        "free some space or fix the mode of its folder; nothing was changed",
    )
    assert path.read_text() == "{"


def test_errors_about_the_file_itself_call_it_the_list_of_paired_clients(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.mkdir()
    assert _refused(path)[0] == f"the list of paired clients {path} cannot be read: it is no regular file"


def test_a_file_of_eight_mebibytes_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    TrustStore(path).add(ONE)
    path.write_bytes(path.read_bytes().ljust(8 * 1024 * 1024))
    assert TrustStore(path).clients() == (ONE,)
    with path.open("ab") as file:
        file.write(b" ")
    assert str(MAX_FILE_BYTES) in _refused(path)[0]
