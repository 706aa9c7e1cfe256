"""What a client reads of a GameStream host's answers, and what it refuses of a hostile one's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from punktfunk.client.gamestream.host import RtspPlace
from punktfunk.client.gamestream.reply import MAX_APPS, MAX_BYTES, MAX_TEXT, Reply, ServerInfo, apps_of
from punktfunk.errors import ProtocolError, PunktfunkError, StatusError

INFO = (
    b'<?xml version="1.0" encoding="utf-8"?><root status_code="200"><hostname>den</hostname>'
    b"<appversion>7.1.431.-1</appversion><uniqueid>ab</uniqueid><HttpsPort>47984</HttpsPort>"
    b"<ServerCodecModeSupport>769</ServerCodecModeSupport><PairStatus>1</PairStatus>"
    b"<currentgame>7</currentgame><state>SUNSHINE_SERVER_BUSY</state></root>"
)


def test_serverinfo_is_read() -> None:
    info = ServerInfo.of(Reply.decode(INFO))
    assert (info.name, info.unique_id, info.https_port, info.codec_modes) == ("den", "ab", 47984, 769)
    assert (info.paired, info.current_app, info.busy, info.extended) == (True, 7, True, True)


@pytest.mark.parametrize(
    ("said", "mac"),
    [
        ("02:00:00:00:00:0A", "02:00:00:00:00:0a"),
        ("00:00:00:00:00:00", ""),
        ("", ""),
        ("02:00:00:00:00:0a:0b", ""),
        ("&#x9b;31m", ""),
    ],
)
def test_a_card_that_could_be_woken_is_kept_and_nothing_else(said: str, mac: str) -> None:
    body = INFO.replace(b"<hostname>", f"<mac>{said}</mac><hostname>".encode())
    assert ServerInfo.of(Reply.decode(body)).mac == mac


@pytest.mark.parametrize("part", [b"<uniqueid>ab</uniqueid>", b"<appversion>7.1.431.-1</appversion>"])
def test_a_serverinfo_without_what_nobody_can_do_without_is_refused(part: bytes) -> None:
    with pytest.raises(ProtocolError):
        ServerInfo.of(Reply.decode(INFO.replace(part, b"")))


def test_a_refusal_is_an_error_with_the_hosts_words_made_harmless() -> None:
    reply = Reply.decode(b'<root status_code="503" status_message="no&#x9b;31m encoder"/>')
    with pytest.raises(StatusError, match=r"no\\x9b31m encoder") as caught:
        reply.accepted("launch")
    assert caught.value.status == 503


def test_titles_of_apps_cannot_obey_a_terminal_and_numbers_are_numbers() -> None:
    body = (
        '<root status_code="200"><App><AppTitle>A&amp;B\u202e</AppTitle><ID>5</ID></App>'
        "<App><AppTitle>no number</AppTitle><ID>x</ID></App>"
        "<App><AppTitle>too large</AppTitle><ID>4294967295</ID></App></root>"
    )
    apps = apps_of(Reply.decode(body.encode()))
    assert [(app.id, app.title) for app in apps] == [(5, "A&B")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<root>",
        b"<root/>",
        b'<root status_code="yes"/>',
        b'<!DOCTYPE root [<!ENTITY a "aaaa">]><root status_code="200">&a;</root>',
        b'<root status_code="200">' + b"<a>" * 40 + b"</a>" * 40 + b"</root>",
        b'<root status_code="200">' + b"<a/>" * 20_000 + b"</root>",
        b'<root status_code="200"><a>' + b"x" * (MAX_TEXT + 1) + b"</a></root>",
        b'<root status_code="200"><a>' + (b"x" * MAX_TEXT + b"<b/>") * 2 + b"</a></root>",
        b'<root status_code="200">' + b" " * MAX_BYTES + b"</root>",
    ],
    ids=[
        "empty",
        "open",
        "no status",
        "words",
        "entity",
        "deep",
        "many",
        "long text",
        "text in pieces",
        "long",
    ],
)
def test_what_is_no_answer_or_too_much_of_one_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Reply.decode(body)


@pytest.mark.parametrize("encoding", ["UTF-16", "no such one", "gb18030", "idna", "rot13", "unicode_escape"])
def test_a_document_is_utf_8_whatever_it_calls_itself(encoding: str) -> None:
    said = f'<?xml version="1.0" encoding="{encoding}"?><root status_code="200"><a>€\\x41</a></root>'
    try:
        root = Reply.decode(said.encode()).root
    except ProtocolError:
        return  # a name that XML does not allow
    assert root.value("a") == "€\\x41"


def test_a_list_of_too_many_apps_is_refused() -> None:
    with pytest.raises(ProtocolError, match="apps"):
        apps_of(Reply.decode(b'<root status_code="200">' + b"<App/>" * (MAX_APPS + 1) + b"</root>"))


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_in_another_way(body: bytes) -> None:
    for raw in (body, b'<root status_code="200">' + body + b"</root>"):
        try:
            ServerInfo.of(Reply.decode(raw))
        except PunktfunkError:
            continue


@pytest.mark.parametrize(
    ("url", "port", "encrypted"),
    [("rtspenc://192.168.1.5:48010", 48010, True), ("rtsp://[fd00::1]:4801", 4801, False)],
)
def test_the_place_of_rtsp_is_read(url: str, port: int, encrypted: bool) -> None:
    place = RtspPlace.of(url)
    assert (place.port, place.encrypted, f"{place.host}:{port}") == (port, encrypted, url.partition("://")[2])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a:1",
        "rtsp://host",
        "rtsp://host:0",
        "rtsp://host:70000",
        "rtsp://:48010",
        "rtsp://a b:1",
        "rtsp://a\r\nX: y:48010",
    ],
)
def test_what_would_break_a_request_line_is_no_place(url: str) -> None:
    with pytest.raises(ProtocolError):
        RtspPlace.of(url)
