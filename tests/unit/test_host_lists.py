"""The lists of hosts that clients have paired with: both wires' are one kind of file, of entries of their own."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.client.gamestream.known_hosts import PairedHost, PairedHosts
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.errors import TrustStoreError, UntrustedPeerError


def _pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "host")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2040))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


CERTIFICATE = _pem()


def keep_native(hosts: Any, port: int, name: str) -> None:
    hosts.remember(("192.0.2.1", port), f"{len(name):064x}")


def keep_gamestream(hosts: Any, port: int, name: str) -> None:
    hosts.remember(
        PairedHost(address="192.0.2.1", port=port, name=name, unique_id="0", certificate=CERTIFICATE)
    )


@dataclass(frozen=True)
class Wire:
    """One wire's list, how a host is kept in it, its file and its bound."""

    kind: type[KnownHosts] | type[PairedHosts]
    keep: Callable[[Any, int, str], None]
    file: str
    most: int


WIRES = {
    "punktfunk/1": Wire(KnownHosts, keep_native, "known-hosts.json", 1024),
    "gamestream": Wire(PairedHosts, keep_gamestream, "gamestream-hosts.json", 256),
}
wires = pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)


@wires
def test_a_host_is_kept_with_its_time_and_replaces_what_was_at_its_address(
    wire: Wire, tmp_path: Path
) -> None:
    hosts = wire.kind(tmp_path)
    for port, name in ((1, "a"), (2, "bb"), (1, "ccc")):
        wire.keep(hosts, port, name)
    again = wire.kind(tmp_path)
    assert [host.port for host in again.all()] == [host.port for host in hosts.all()] == [2, 1]
    assert all(host.paired_unix_s > 1_700_000_000 for host in again.all())
    assert again.find(("192.0.2.1", 3)) is None
    written = json.loads((tmp_path / wire.file).read_text())
    assert (written["schema_version"], len(written["hosts"])) == (1, 2)


@wires
def test_a_list_has_an_end_and_the_oldest_goes(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wire.kind.max_hosts == wire.most
    monkeypatch.setattr(wire.kind, "max_hosts", 2)
    hosts = wire.kind(tmp_path)
    for port in (1, 2, 3):
        wire.keep(hosts, port, "a")
    assert [host.port for host in wire.kind(tmp_path).all()] == [2, 3]


@wires
def test_another_pairing_of_meanwhile_is_not_lost(wire: Wire, tmp_path: Path) -> None:
    mine, other = wire.kind(tmp_path), wire.kind(tmp_path)
    wire.keep(other, 1, "a")
    wire.keep(mine, 2, "a")
    assert [host.port for host in mine.all()] == [1, 2]


@wires
@pytest.mark.parametrize("damage", ["{", '{"schema_version": 2}', '{"hosts": [{"address": "a", "port": 0}]}'])
def test_a_damaged_list_is_refused_by_its_name(wire: Wire, damage: str, tmp_path: Path) -> None:
    wire.keep(wire.kind(tmp_path), 1, "a")
    (tmp_path / wire.file).write_text(damage)
    with pytest.raises(
        TrustStoreError, match=f"{wire.kind.what} .*{wire.file} cannot be read: it is damaged"
    ):
        wire.kind(tmp_path)


def test_each_wire_asks_for_what_it_has_to_see(tmp_path: Path) -> None:
    native, gamestream = KnownHosts(tmp_path), PairedHosts(tmp_path)
    keep_native(native, 1, "a")
    keep_gamestream(gamestream, 1, "a")
    assert native.pin_for(("192.0.2.1", 1)) == f"{1:064x}"
    assert native.pin_for(("192.0.2.1", 2)) is None
    der = x509.load_pem_x509_certificate(CERTIFICATE.encode()).public_bytes(Encoding.DER)
    assert gamestream.at(("192.0.2.1", 1)).certificate_der == der
    with pytest.raises(UntrustedPeerError, match=r"no GameStream host at 192\.0\.2\.1:2") as error:
        gamestream.at(("192.0.2.1", 2))
    assert error.value.hint == "punktfunk gamestream pair 192.0.2.1:2"


def test_what_is_learnt_of_a_host_changes_nothing_of_its_pairing_and_adds_none(tmp_path: Path) -> None:
    hosts = KnownHosts(tmp_path)
    hosts.remember(("192.0.2.7", 9777), "ab" * 32)
    [before] = hosts.all()
    hosts.note(("192.0.2.8", 9777), mac="02:00:00:00:00:07")
    hosts.note(("192.0.2.7", 9777), mac="02:00:00:00:00:07", called="attic")
    hosts.note(("192.0.2.7", 9777))
    [after] = KnownHosts(tmp_path).all()
    assert after == before.model_copy(update={"mac": "02:00:00:00:00:07", "called": "attic"})
