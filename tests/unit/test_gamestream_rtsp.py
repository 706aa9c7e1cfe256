"""RTSP of GameStream: messages from pieces of any size, sealed ones, and what of them is refused."""

from __future__ import annotations

import pytest

from punktfunk.errors import CryptoError, StatusError
from punktfunk.gamestream.rtsp import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    Headers,
    RequestReader,
    RtspRequest,
    RtspResponse,
)
from punktfunk.gamestream.rtsp_cipher import HEADER, MAX_MESSAGES, FrameReader, RtspCipher, RtspFrame

KEY = bytes(range(16))
OPTIONS = (
    b"OPTIONS rtsp://10.0.0.2:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\nHost: 10.0.0.2\r\n\r\n"
)
OPTIONS_FRAME = bytes.fromhex(
    "8000005b00000001857573ab090ee3c10ed0e2766e91c5529fe452003a42126629e9a38daca4f662beaadbf24fb40a6b9f04"
    "8d30919fe7fd5b40e4cc1b354153fbcf05db96c81716f2d6d2e60f534c9ee6b080ed529938932cb06fc5a34d42c40c154784"
    "08264cfe9059557356828678be77b5"
)
OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"
OK_FRAME = bytes.fromhex(
    "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2600872b43a271f6b4fc685cedf9a7cb84351077c0cc521456e1d06e9"
)


def announce(body: bytes, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    head = f"ANNOUNCE streamid=control/13/0 RTSP/1.0\r\nCSeq: 6\r\nContent-length: {said}\r\n\r\n"
    return head.encode() + body


def opened(frame: bytes) -> RtspFrame:
    complete = FrameReader().feed(frame)
    assert complete is not None
    return complete


def refused(raw: bytes) -> int:
    with pytest.raises(StatusError) as error:
        RtspRequest.decode(raw)
    return error.value.status


@pytest.mark.conformance(42)
def test_a_request_in_segments_of_one_byte_is_whole_with_its_last_byte() -> None:
    raw = announce(b"v=0\r\n\r\na=x:1 \r\n")
    reader = RequestReader()
    for byte in raw[:-1]:
        assert reader.feed(bytes([byte])) is None
    request = reader.feed(raw[-1:])
    assert request is not None
    assert (request.method, request.target, request.stream) == (
        "ANNOUNCE",
        "streamid=control/13/0",
        "control",
    )
    assert (request.sequence, request.body) == ("6", b"v=0\r\n\r\na=x:1 \r\n")


def test_names_of_headers_match_whatever_their_case() -> None:
    request = RtspRequest.decode(OPTIONS)
    assert request.headers["cseq"] == request.headers["CSEQ"] == "1"
    assert request.headers["x-gs-clientversion"] == "14"
    assert "Session" not in request.headers
    assert list(request.headers) == ["CSeq", "X-GS-ClientVersion", "Host"]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("streamid=audio/0/0", "audio"),
        ("streamid=video", "video"),
        ("streamid=control/1/0", "control"),
        ("/", None),
        ("rtsp://10.0.0.2:48010", None),
    ],
)
def test_the_kind_of_a_stream_is_what_stands_before_the_slash(target: str, kind: str | None) -> None:
    assert RtspRequest.decode(f"SETUP {target} RTSP/1.0\r\nCSeq: 3\r\n\r\n".encode()).stream == kind


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS  RTSP/1.0\r\n\r\n",
        b"\r\n\r\n",
        b"options / RTSP/1.0\r\n\r\n",
        b"PLAY / RTSP/1.0\r\nno colon\r\n\r\n",
        b"PLAY / RTSP/1.0\r\n: nameless\r\n\r\n",
        b"PLAY / RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"PLAY / RTSP/1.0\r\nContent-Length: \xc2\xb2\r\n\r\n",
        announce(b"12345", 4),
        announce(b"1234", 5),
    ],
)
def test_what_is_no_request_is_refused_with_400(raw: bytes) -> None:
    assert refused(raw) == 400


def test_heads_bodies_and_headers_have_bounds_that_are_met_before_anything_is_kept() -> None:
    line = b"PLAY / RTSP/1.0\r\nX: "
    RtspRequest.decode(line + b"x" * (MAX_HEAD_BYTES - len(line)) + b"\r\n\r\n")
    assert refused(line + b"x" * (MAX_HEAD_BYTES - len(line) + 1) + b"\r\n\r\n") == 413
    reader = RequestReader()
    with pytest.raises(StatusError, match="head"):
        reader.feed(b"x" * (MAX_HEAD_BYTES + 1))
    RtspRequest.decode(announce(b"x" * MAX_BODY_BYTES))
    assert refused(announce(b"", MAX_BODY_BYTES + 1)) == 413
    many = "".join(f"h{number}: 1\r\n" for number in range(MAX_HEADERS))
    RtspRequest.decode(f"PLAY / RTSP/1.0\r\n{many}\r\n".encode())
    assert refused(f"PLAY / RTSP/1.0\r\n{many}one: 2\r\n\r\n".encode()) == 400


def test_answers_have_a_reason_a_header_and_their_body_to_the_end() -> None:
    raw = RtspResponse(200, Headers({"CSeq": "2", "Session": "A;timeout = 90"}), b"a=b\n").encode()
    assert raw == b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: A;timeout = 90\r\n\r\na=b\n"
    read = RtspResponse.decode(raw)
    assert (read.status, read.reason, read.headers["session"], read.body) == (
        200,
        "OK",
        "A;timeout = 90",
        b"a=b\n",
    )
    assert (
        RtspResponse(454, Headers({"CSeq": "1"})).encode().startswith(b"RTSP/1.0 454 Session Not Found\r\n")
    )
    assert RtspResponse.decode(b"RTSP/1.0 200\r\n\r\n").status == 200
    for line in (
        "HTTP/1.1 200 OK",
        "RTSP/1.0 2000 OK",
        "RTSP/1.0 020 OK",
        "RTSP/1.0 ٢٠٠ OK",
        "RTSP/1.0 200OK",
    ):
        with pytest.raises(StatusError, match="none"):
            RtspResponse.decode(f"{line}\r\n\r\n".encode())


@pytest.mark.conformance(41)
def test_the_vectors_of_the_description_are_sealed_and_opened_bit_for_bit() -> None:
    client, host = RtspCipher(KEY, "client"), RtspCipher(KEY, "host")
    assert client.seal(OPTIONS) == OPTIONS_FRAME
    assert host.open(opened(OPTIONS_FRAME)) == OPTIONS
    assert host.seal(OK) == OK_FRAME
    assert client.open(opened(OK_FRAME)) == OK


@pytest.mark.conformance(41)
def test_a_frame_of_another_key_or_direction_a_changed_one_and_one_that_was_there_are_refused() -> None:
    frame = opened(OPTIONS_FRAME)
    with pytest.raises(CryptoError, match="another key"):
        RtspCipher(bytes(16), "host").open(frame)
    with pytest.raises(CryptoError, match="another key"):
        RtspCipher(KEY, "client").open(frame)
    host = RtspCipher(KEY, "host")
    changed = RtspFrame(frame.sequence + 1, frame.tag, frame.ciphertext)
    with pytest.raises(CryptoError, match="another key"):
        host.open(changed)
    assert host.open(frame) == OPTIONS
    with pytest.raises(CryptoError, match="there before"):
        host.open(frame)


def test_numbers_of_one_key_count_on_and_are_bounded() -> None:
    client, host = RtspCipher(KEY, "client"), RtspCipher(KEY, "host")
    frames = [opened(client.seal(b"x")) for _ in range(MAX_MESSAGES + 1)]
    assert [frame.sequence for frame in frames[:3]] == [1, 2, 3]
    for frame in reversed(frames[1:]):
        host.open(frame)
    with pytest.raises(CryptoError, match="too many"):
        host.open(frames[0])


@pytest.mark.conformance(41)
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (OPTIONS_FRAME + b"\0", 400),
        (b"\x00" + OPTIONS_FRAME[1:], 400),
        (OPTIONS, 400),
        (HEADER.pack(0xFFFF_FFFF, 1, bytes(16)), 413),
        (HEADER.pack(0x8000_0000 | (MAX_HEAD_BYTES + MAX_BODY_BYTES + 1), 1, bytes(16)), 413),
    ],
)
def test_a_frame_that_is_none_is_refused_before_it_is_kept(raw: bytes, status: int) -> None:
    with pytest.raises(StatusError) as error:
        FrameReader().feed(raw)
    assert error.value.status == status


@pytest.mark.conformance(41)
def test_a_frame_cut_anywhere_waits_for_the_rest() -> None:
    for length in range(len(OPTIONS_FRAME)):
        assert FrameReader().feed(OPTIONS_FRAME[:length]) is None
