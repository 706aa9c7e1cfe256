"""Whatever a stranger sends to a GameStream host by HTTP is read, or refused with a status; nothing else happens."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.app import App
from punktfunk.errors import StatusError
from punktfunk.gamestream import xml
from punktfunk.gamestream.certificate import ClientCertificate, signature_of
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.gamestream.pairing import parse_pair
from punktfunk.gamestream.query import Target, hex_field
from tests.support.moonlight import client_keys

NAMES = st.sampled_from(
    [
        "phrase",
        "salt",
        "clientcert",
        "clientchallenge",
        "serverchallengeresp",
        "clientpairingsecret",
        "otpauth",
    ]
)
LAUNCH_NAMES = st.sampled_from(
    [
        "appid",
        "mode",
        "rikey",
        "rikeyid",
        "localAudioPlayMode",
        "surroundAudioInfo",
        "surroundParams",
        "corever",
        "gcmap",
    ]
)
VALUES = st.one_of(
    st.text(max_size=80),
    st.text("0123456789abcdefABCDEF", max_size=80),
    st.integers(-(2**40), 2**40).map(str),
    st.sampled_from(["getservercert", "pairchallenge", "1920x1080x60", "00" * 16, "00" * 32, "642014523"]),
)


def read_or_refused(parse: Callable[[], object]) -> None:
    status = 200
    try:
        parse()
    except StatusError as refused:
        status = refused.status
    assert status in {200, 400, 404, 503}


@given(st.binary(max_size=400))
def test_any_target_is_read_or_refused(target: bytes) -> None:
    read_or_refused(lambda: Target.parse(target))


@given(
    st.text(max_size=20),
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=20)), max_size=20),
)
def test_a_target_is_read_as_it_was_written(path: str, fields: list[tuple[str, str]]) -> None:
    path = path.replace("?", "")
    read = Target.parse(f"{path}?{urlencode(fields)}".encode(errors="replace"))
    first: dict[str, str] = {}
    for name, value in fields:
        first.setdefault(quote(name), value)
    assert {quote(name): value for name, value in read.query.items()} == first


def test_a_target_of_many_parameters_is_refused() -> None:
    with pytest.raises(StatusError):
        Target.parse(b"/pair?" + b"&".join(b"a%d=1" % n for n in range(65)))


@given(st.dictionaries(NAMES, VALUES))
def test_any_pairing_request_is_read_or_refused(query: dict[str, str]) -> None:
    read_or_refused(lambda: parse_pair(query))


@given(st.dictionaries(LAUNCH_NAMES, VALUES), st.booleans())
def test_any_launch_is_read_or_refused(query: dict[str, str], resume: bool) -> None:
    read_or_refused(lambda: LaunchRequest.parse(query, resume=resume))


@given(st.text(max_size=40), st.integers(0, 20), st.integers(0, 20))
def test_hex_has_one_spelling_and_its_length(text: str, least: int, span: int) -> None:
    try:
        value = hex_field({"a": text}, "a", least=least, most=least + span)
    except StatusError:
        return
    assert value.hex() == text.lower()
    assert least <= len(value) <= least + span


KEYS = client_keys()


@given(st.integers(0, len(KEYS.der) - 1), st.integers(0, 255), st.integers(0, len(KEYS.der)))
def test_a_changed_certificate_is_read_or_refused(at: int, byte: int, length: int) -> None:
    """Gamestream line 19, for certificates."""
    changed = bytearray(KEYS.der)
    changed[at] = byte
    for der in (bytes(changed), bytes(changed)[:length]):
        pem = as_pem(der)
        read_or_refused(lambda pem=pem: ClientCertificate.parse(pem))  # type: ignore[misc]
        try:
            signature_of(der)
        except ValueError:
            continue


def as_pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.text(max_size=20), max_size=4))
def test_whatever_is_said_is_xml(message: str, query: str, titles: list[str]) -> None:
    root = ElementTree.fromstring(xml.reply([("paired", 0)], status=400, message=message, query=query))
    assert root.attrib["status_code"] == "400"
    apps = ElementTree.fromstring(
        xml.app_list([App(n + 1, title) for n, title in enumerate(titles)], hdr=False)
    )
    assert len(apps) == len(titles)
