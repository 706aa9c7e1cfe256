"""A capture is hostile input: it is read to an end and shown whatever is in it; nothing raises but a typed error."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from punktfunk.core import _core
from punktfunk.errors import PunktfunkError
from tests.support.captures import (
    BEGAN_NS,
    CLIENT,
    CLIENT_PORT,
    HOST,
    KEY,
    Sent,
    Stream,
    gamestream,
    udp,
    write,
)

FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], str]:
    """Return what reads bytes as a capture and shows all of it; only typed errors of ours pass."""
    from harness.dissect import documents, show, show_frame
    from harness.dissect.keys import Keys
    from harness.dissect.reading import Reading
    from harness.dissect.rebuild import FramePackets
    from punktfunk.rich_terminal import Console

    file = tmp_path_factory.mktemp("capture") / "hostile.pcapng"

    def see(content: bytes) -> str:
        file.write_bytes(content)
        keys = Keys()
        keys.name(KEY.hex())
        reading = Reading(file, keys)
        try:
            first = reading.read()
        except PunktfunkError as error:
            return error.code
        table = show.Packets(1000)
        frame = min((n for s in first.video for n in s.frames), default=0)
        kept = FramePackets(first.video[0].number if first.video else 1, frame)

        def both(row: Any) -> None:
            table.see(row)
            kept.see(row)

        survey = reading.read(both)
        with Path("/dev/null").open("w") as nowhere:
            console = Console(width=show.WIDTH, file=nowhere, record=True, force_terminal=True)
            show.overview(console, survey)
            show.said(console, survey)
            table.show(console, survey.first_ns)
            for stream in survey.video:
                received = survey.received.get(stream.number)
                show.verdicts(console, stream, received)
                show.frames(console, survey, stream, received, everything=True, limit=1000)
                found = stream.frames.get(frame)
                if found is not None and stream.number == first.video[0].number:
                    blocks = kept.blocks(stream)
                    unit = kept.access_unit(stream, blocks)
                    show_frame.one_frame(
                        console,
                        survey,
                        stream,
                        found,
                        rows=kept.rows,
                        blocks=blocks,
                        access_unit=unit,
                        limit=1000,
                    )
            text = console.export_text()
        assert isinstance(documents.document(survey, None)["streams"], list)
        assert "\x1b" not in text, "nothing of a capture acts on a terminal"
        return text

    return see


@cache
def valid(kind: str) -> bytes:
    """Return the bytes of a whole capture of each wire."""
    stream = {
        "sealed": Stream(_core.StreamConfig(key=KEY), [3000, 20]),
        "plain": Stream(_core.StreamConfig(), [3000, 20]),
        "gamestream": gamestream(None, [3000, 20]),
        "encrypted": gamestream(KEY, [3000, 20]),
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "a.pcapng", stream.packets()).read_bytes()


KINDS = st.sampled_from(["sealed", "plain", "gamestream", "encrypted"])


@FEW
@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_to_an_end(shown: Callable[[bytes], str], content: bytes) -> None:
    shown(content)


@FEW
@given(kind=KINDS, at=st.integers(min_value=0), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_a_capture_with_a_wrong_byte_or_a_missing_end_is_shown_as_far_as_it_goes(
    shown: Callable[[bytes], str], kind: str, at: int, value: int, cut: int
) -> None:
    content = bytearray(valid(kind))
    content[at % len(content)] = value
    shown(bytes(content[: len(content) - cut]))


@FEW
@given(payloads=st.lists(st.binary(max_size=120), max_size=6), data=st.data())
def test_any_payloads_are_shown_beside_those_of_a_stream(
    shown: Callable[[bytes], str], payloads: list[bytes], data: st.DataObject, tmp_path: Path
) -> None:
    heads = [
        b"",
        b"\x90\0",
        b"\x80\x61",
        b"\x80\x7f",
        b"PFpunch1",
        b"\xc3\0\0\0\x01\x08",
        b"\x8f\xff\0\0\x82",
        bytes(8),
    ]
    strange = [data.draw(st.sampled_from(heads)) + payload for payload in payloads]
    sent = [Sent(BEGAN_NS + n, True, payload, control=n % 2 > 0) for n, payload in enumerate(strange)]
    shown(write(tmp_path / "a.pcapng", sent).read_bytes())


@FEW
@given(
    header=st.tuples(
        *(st.integers(0, (1 << bits) - 1) for bits in (64, 32, 32, 32, 32, 16, 16, 16, 16, 16)),
    ),
    shards=st.integers(1, 3),
)
def test_any_header_that_authenticates_is_shown_and_costs_what_it_brings(
    shown: Callable[[bytes], str], header: tuple[int, ...], shards: int, tmp_path: Path
) -> None:
    plain = struct.pack("<QIIIIHHHHHHBBBB", *header, 32, 0xC9, 1, 1, 1) + bytes(32)
    sent = [Sent(BEGAN_NS, True, _core.seal(KEY, b"pkf1", True, n, plain)) for n in range(shards)]
    shown(write(tmp_path / "a.pcapng", sent).read_bytes())


MARKUP = st.text(alphabet="[]/\\\\ =#@:abcred0\x1b\n", min_size=1, max_size=30)


@FEW
@given(words=st.lists(st.one_of(MARKUP, st.text(min_size=1, max_size=30)), min_size=1, max_size=3))
def test_whatever_a_peer_says_is_shown_and_never_read_as_markup(words: list[str]) -> None:
    """A close reason with a bracket that closes nothing ended the program; one that opens something was not shown."""
    from harness.dissect import show
    from harness.dissect.quic import Said
    from harness.dissect.reading import Survey
    from punktfunk.printable import printable
    from punktfunk.rich_terminal import Console

    out = io.StringIO()
    # What stands around it keeps white space at its ends, which a table would cut.
    said = [Said(n, True, f"<{text}>") for n, text in enumerate(words)]
    show.said(Console(width=2000, file=out, highlight=False), Survey(Path("a.pcapng"), said=said))
    for text in words:
        assert f"<{printable(text)}>" in out.getvalue()


@FEW
@given(
    k=st.integers(1, 4),
    m=st.one_of(st.integers(0, 8), st.integers(60_000, 65_531)),
    shard_bytes=st.one_of(st.integers(2, 64), st.integers(1_000, 60_000)).map(lambda size: size // 2 * 2),
    index=st.integers(0, 3),
)
def test_what_fec_makes_of_a_block_is_bounded_whatever_its_header_says(
    k: int, m: int, shard_bytes: int, index: int
) -> None:
    """Few data shards that all came, and a header that says there are tens of thousands of recovery shards to make."""
    from harness.dissect import rebuild
    from harness.dissect.frames import Frame, Shard
    from harness.dissect.reading import Row
    from harness.dissect.streams import Stream as Found
    from harness.dissect.wires import Kind, Video

    made: list[int] = []

    def encode(_scheme: str, shards: list[bytes], recovery: int) -> list[bytes]:
        made.append((len(shards) + recovery) * len(shards[0]))
        return [bytes(len(shards[0]))] * min(recovery, 8)

    stream = Found(1, ("::1", 1), ("::1", 2), Kind.PLAIN, shard_bytes=shard_bytes, scheme=1)
    stream.frames[5] = Frame(5, 1, k * shard_bytes)
    kept = rebuild.FramePackets(1, 5)
    for at in range(k):
        shard = Shard(5, 0, 1, (at + index) % k, k, m, k * shard_bytes, False)
        stream.frames[5].add(shard, at)
        kept.see(
            Row(
                at,
                at,
                stream,
                shard_bytes + 40,
                "data",
                Video(at, 32, shard, bytes(shard_bytes + 40), frame=5),
            )
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebuild, "fec_encode", encode)
        patch.setattr(rebuild, "fec_decode", lambda *_asked: {})
        [found] = kept.blocks(stream).values()
    assert sum(made) <= rebuild.MAX_KEPT_BYTES
    assert bool(found.data) is not bool(found.why)
    if (k + m) * shard_bytes <= rebuild.MAX_KEPT_BYTES:
        assert found.data == [bytes(shard_bytes)] * k


@FEW
@given(
    payload=st.binary(max_size=60),
    linktype=st.sampled_from([0, 1, 101, 113, 228, 276, 9999]),
    start=st.integers(0, 30),
    at=st.integers(0, 59),
    value=st.integers(0, 255),
)
def test_any_packet_below_udp_is_a_datagram_or_said_to_be_something_else(
    payload: bytes, linktype: int, start: int, at: int, value: int
) -> None:
    from harness.dissect.datagrams import Datagram, find_datagram
    from harness.network.capture_file import Record

    packet = bytearray(udp((HOST, 1), (CLIENT, CLIENT_PORT), payload))
    packet[at % len(packet)] = value
    for data in (bytes(packet), bytes(start) + bytes(packet), bytes(packet)[:start]):
        found = find_datagram(Record(1, linktype, data, len(data)))
        assert isinstance(found, (Datagram, str))


@FEW
@given(text=st.text(max_size=60))
def test_any_text_is_a_filter_or_an_error_that_says_how_one_looks(text: str) -> None:
    from harness.dissect.filters import FIELDS, compile_filter

    try:
        holds = compile_filter(text)
    except PunktfunkError:
        return
    assert holds(dict.fromkeys(FIELDS)) in (True, False)


@FEW
@given(content=st.binary(max_size=300))
def test_any_key_log_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    from harness.dissect.keys import Keys

    file = tmp_path / "keys"
    file.write_bytes(content)
    with contextlib.suppress(PunktfunkError):
        Keys().read(file)
