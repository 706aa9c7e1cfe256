"""Who is let in: by certificate first, and under open trust by where the *peer* comes from (promise P5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from punktfunk.clock import monotonic_ns
from punktfunk.host.admission import HostAdmission
from punktfunk.host.pairing import NativePairing
from punktfunk.host.trust import PairedClient, TrustStore
from punktfunk.native.dialect import CloseCode, Dialect
from punktfunk.native.quic import Peer
from punktfunk.native.trust import OpenTrust

PAIRED, NAMED, STRANGER = "1" * 64, "2" * 64, "3" * 64
PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "100.64.0.1", "172.32.0.1"]
PRIVATE = [
    "192.168.1.5",
    "10.0.0.1",
    "172.31.255.255",
    "169.254.3.4",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:10.0.0.1",
]
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]


@pytest.fixture
def pairing(tmp_path: Path) -> NativePairing:
    store = TrustStore(tmp_path / "trust.json")
    store.add(PairedClient(PAIRED, "paired", "native", 10))
    return NativePairing(store, bytes(32))


def peer(address: str, fingerprint: str | None) -> Peer:
    return Peer((address, 50_000), Dialect.PKF1, fingerprint)


@pytest.mark.parametrize("trust", OpenTrust)
@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *PUBLIC])
def test_a_known_certificate_is_let_in_from_anywhere(
    trust: OpenTrust, address: str, pairing: NativePairing
) -> None:
    admission = HostAdmission([NAMED], trust, pairing)
    assert admission.refusal(peer(address, PAIRED)) is None
    assert admission.refusal(peer(address, NAMED)) is None
    assert (
        admission.known(PAIRED),
        admission.known(NAMED),
        admission.known(STRANGER),
        admission.known(None),
    ) == (
        True,
        True,
        False,
        False,
    )


@pytest.mark.parametrize("fingerprint", [STRANGER, None])
@pytest.mark.parametrize(
    ("trust", "let_in", "refused"),
    [(OpenTrust.LOOPBACK, LOOPBACK, [*PRIVATE, *PUBLIC]), (OpenTrust.PRIVATE, [*LOOPBACK, *PRIVATE], PUBLIC)],
)
def test_open_trust_looks_at_the_address_of_the_peer_and_not_at_the_one_that_is_bound(
    trust: OpenTrust, let_in: list[str], refused: list[str], fingerprint: str | None, pairing: NativePairing
) -> None:
    admission = HostAdmission([], trust, pairing)
    assert {address: admission.refusal(peer(address, fingerprint)) for address in let_in} == dict.fromkeys(
        let_in
    )
    answers = {address: admission.refusal(peer(address, fingerprint)) for address in refused}
    assert answers == dict.fromkeys(refused, CloseCode.DENIED)


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *PUBLIC])
def test_without_open_trust_a_stranger_is_denied_and_one_without_a_certificate_is_told_so(
    address: str, pairing: NativePairing
) -> None:
    admission = HostAdmission([], OpenTrust.NONE, pairing)
    assert admission.refusal(peer(address, STRANGER)) is CloseCode.DENIED
    assert admission.refusal(peer(address, None)) is CloseCode.NO_IDENTITY


def test_a_client_that_knocks_is_remembered_and_one_without_a_certificate_cannot_be(
    pairing: NativePairing,
) -> None:
    admission = HostAdmission([], OpenTrust.NONE, pairing)
    admission.knocked(peer("192.0.2.1", None), "nobody")
    assert pairing.pending(monotonic_ns()) == ()
    admission.knocked(peer("192.0.2.1", STRANGER), "\x1b[2Jliving\u202e room")
    [device] = pairing.pending(monotonic_ns())
    assert (device.fingerprint, device.name, device.source) == (STRANGER, "[2Jliving room", "192.0.2.1")


def test_without_pairing_nobody_is_remembered_and_only_named_certificates_are_known() -> None:
    admission = HostAdmission([NAMED], OpenTrust.NONE, None)
    admission.knocked(peer("192.0.2.1", STRANGER), "x")
    assert admission.known(NAMED)
    assert not admission.known(PAIRED)
