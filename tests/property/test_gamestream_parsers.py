"""Whatever bytes come by RTSP or as a ping: they are read, or refused with a status, and pieces make no difference."""

from __future__ import annotations

import contextlib
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from punktfunk.errors import CryptoError, StatusError
from punktfunk.gamestream.announce import parse_announce
from punktfunk.gamestream.describe import CodecModes, Description, Encryption, Features
from punktfunk.gamestream.ping import Ping, PingBook
from punktfunk.gamestream.rtsp import Headers, RequestReader, RtspRequest, RtspResponse
from punktfunk.gamestream.rtsp_cipher import FrameReader, RtspCipher
from punktfunk.gamestream.surround import SurroundParams
from tests.support.gamestream_announce import MODERN, payload

names = st.text("abcXYZ-", min_size=1, max_size=12)
values = st.text("abc019;= ", max_size=20).map(str.strip)


def in_pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[start:end] for start, end in pairwise(edges)]


@given(st.binary(max_size=300))
@example(b"PLAY / RTSP/1.0\r\n\r\n")
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    with contextlib.suppress(StatusError):
        RtspRequest.decode(raw)
    with contextlib.suppress(StatusError):
        RtspResponse.decode(raw)
    with contextlib.suppress(StatusError):
        FrameReader().feed(raw)
    Ping.decode(raw)
    Description.decode(raw)


@given(
    st.sampled_from(["OPTIONS", "SETUP", "ANNOUNCE"]),
    st.dictionaries(names, values, max_size=5),
    st.binary(max_size=100),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_a_request_survives_being_cut_anywhere(
    method: str, headers: dict[str, str], body: bytes, cuts: list[int]
) -> None:
    fields = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    request = RtspRequest(
        method, "streamid=video/0/0", Headers({**fields, "Content-length": str(len(body))}), body
    )
    reader = RequestReader()
    read = [reader.feed(piece) for piece in in_pieces(request.encode(), cuts)]
    assert all(part is None for part in read[:-1])
    assert read[-1] is not None
    assert (read[-1].method, read[-1].body) == (method, body)
    assert dict(read[-1].headers) == {**fields, "Content-length": str(len(body))}


@given(
    st.binary(max_size=500),
    st.integers(0, 40),
    st.integers(1, 255),
    st.lists(st.integers(0, 1000), max_size=9),
)
def test_a_sealed_message_is_opened_or_refused_and_never_another_one(
    message: bytes, at: int, flip: int, cuts: list[int]
) -> None:
    frame = bytearray(RtspCipher(bytes(16), "client").seal(message))
    reader = FrameReader()
    complete = [reader.feed(piece) for piece in in_pieces(bytes(frame), cuts)][-1]
    assert complete is not None
    assert RtspCipher(bytes(16), "host").open(complete) == message
    frame[at % len(frame)] ^= flip
    try:
        changed = FrameReader().feed(bytes(frame))
    except StatusError:
        return
    if changed is not None:
        with contextlib.suppress(CryptoError):
            raise AssertionError(RtspCipher(bytes(16), "host").open(changed))


@given(
    st.dictionaries(st.sampled_from(sorted(MODERN)), st.integers(0, 3000).map(str) | values, max_size=8),
    st.sets(st.sampled_from(sorted(MODERN)), max_size=2),
)
def test_any_announced_values_are_a_stream_or_refused_with_400(
    others: dict[str, str], gone: set[str]
) -> None:
    attributes = {name: value for name, value in {**MODERN, **others}.items() if name not in gone}
    refused = []
    try:
        announced = parse_announce(payload(attributes))
    except StatusError as error:
        refused.append(error.status)
    if refused:
        assert refused == [400]
        return
    assert announced.packet_bytes % 16 == 0
    assert announced.mode.width % 2 == 0
    assert 1 <= announced.slices <= 8
    assert 1 <= announced.video_kbps(20, high_quality_sound=True) <= 2_000_000


@given(st.text(max_size=400))
def test_any_text_announces_nothing_or_is_refused(text: str) -> None:
    with contextlib.suppress(StatusError):
        parse_announce(text.encode(errors="surrogatepass"))


@given(
    st.integers(1, 0x7F0301).map(CodecModes),
    st.integers(0, 3).map(Features),
    st.integers(0, 7).map(Encryption),
)
def test_a_client_reads_what_a_host_describes(
    modes: CodecModes, features: Features, requested: Encryption
) -> None:
    said = Description.of(modes, features=features, requested=requested)
    assert Description.decode(said.encode()) == said


@given(st.text("0123456789", max_size=12))
def test_a_layout_is_read_as_it_is_written_and_scrambling_is_undone(text: str) -> None:
    params = SurroundParams.parse(text)
    if params is not None:
        assert str(params) == text
        if params.channels > 2:
            assert params.scrambled().unscrambled() == params


@given(st.binary(max_size=24))
def test_a_stranger_never_pings_for_a_session(raw: bytes) -> None:
    book = PingBook[str]()
    book.expect("one", payload="0123456789ABCDEF", address=None)
    assert (book.session_of(raw, "10.0.0.1") == "one") == (len(raw) == 20 and raw[:16] == b"0123456789ABCDEF")
