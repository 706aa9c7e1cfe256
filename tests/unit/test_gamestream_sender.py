"""What GameStream's sender puts on the wire for a stream, on a real stream of the core over loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import ClientStream, GameStreamConfig
from punktfunk.errors import InvalidConfigError
from punktfunk.host.gamestream.sender import SENDER, GameStreamSender, GameStreamTransport
from punktfunk.host.stream.sender import open_sender
from punktfunk.media import AccessUnit, Stamps
from tests.support.stream_spec import SPEC

KEY = bytes(range(1, 17))
PLAIN = GameStreamTransport(packet_size=1392, codec="h264")


class Wire:
    """A sender whose packets arrive at a socket of this test."""

    def __init__(self, sender: GameStreamSender, end: socket.socket) -> None:
        self.sender, self.end, self._received = sender, end, 0

    def send(
        self, data: bytes, *, key: bool = True, pts_ns: int | None = None, age_ns: int = 0
    ) -> list[bytes]:
        """Send a picture; return its packets."""
        sent = self.count(data, key=key, pts_ns=pts_ns, age_ns=age_ns)
        return [self.end.recv(4096) for _ in range(sent)]

    def count(self, data: bytes, *, key: bool = True, pts_ns: int | None = None, age_ns: int = 0) -> int:
        """Send a picture; return how many packets that took, which may be more than a socket holds."""
        now = monotonic_ns()
        stamps = Stamps(now - age_ns, now, now, now) if age_ns else Stamps()
        self.sender.submit(
            AccessUnit(data, key=key, frame=0, pts_ns=now if pts_ns is None else pts_ns, stamps=stamps)
        )
        assert self.sender.flush(30)
        sent = self.sender.stats()["packets_sent"] - self._received
        self._received += sent
        return sent


@contextmanager
def connected(family: socket.AddressFamily = socket.AF_INET) -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as held:
        one, other = (held.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
        for end in (one, other):
            end.bind(("127.0.0.1" if family is socket.AF_INET else "::1", 0))
            end.settimeout(30)
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        yield one, other


@contextmanager
def wire(
    transport: GameStreamTransport = PLAIN, family: socket.AddressFamily = socket.AF_INET
) -> Iterator[Wire]:
    spec = SPEC.model_copy(update={"transport": transport.transport(), "clock": SessionClock(10**18, 0)})
    with connected(family) as (one, other):
        sender = open_sender(spec, one.fileno(), {SENDER})
        assert isinstance(sender, GameStreamSender)
        try:
            yield Wire(sender, other)
        finally:
            sender.close()


def word(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 4], "little")


@pytest.mark.conformance(48)
@pytest.mark.conformance(51)
def test_a_small_picture_is_one_packet_and_two_of_recovery_of_the_announced_length() -> None:
    with wire() as plain:
        packets = plain.send(b"picture")
        assert [len(packet) for packet in packets] == [1392 + 16] * 3
        assert [word(packet, 28) >> 4 & 255 for packet in packets] == [200] * 3
        assert packets[0][32:].rstrip(b"\0") == bytes([1, 0, 0, 2, 8 + 7, 0, 0, 0]) + b"picture"
        assert plain.send(b"next", key=False)[0][35] == 1
    with wire(PLAIN.model_copy(update={"packet_size": 1360, "key": KEY.hex()})) as sealed:
        packets = sealed.send(b"picture")
        assert [len(packet) for packet in packets] == [1360 + 48] * 3
        assert [packet[:12] for packet in packets] == [bytes([n, *[0] * 10, 0x56]) for n in range(3)]


@pytest.mark.conformance(59)
def test_times_rise_from_near_0_also_of_a_picture_shown_again_and_the_latency_is_that_since_the_capture() -> (
    None
):
    with wire() as plain:
        began = monotonic_ns()
        stamps = [plain.send(b"x", pts_ns=at)[0][4:8] for at in (began, began, began + 10**9, began)]
        first, again, later, back = (int.from_bytes(stamp, "big") for stamp in stamps)
        assert 0 < first < 90_000 * 30 < 2**32, "the wall clock of the session does not come into it"
        assert again == first + 1
        assert abs(later - first - 90_000) <= 1
        assert back == later + 1
        latency = int.from_bytes(plain.send(b"x", age_ns=50_000_000)[0][33:35], "little")
        assert 500 <= latency < 300_000, "tenths of a millisecond"


def test_protection_follows_what_is_asked_for_up_to_what_the_header_can_say() -> None:
    with wire() as plain:
        picture = bytes(20 * 1376 - 8)
        assert plain.sender.fec_percent == 20
        assert len(plain.send(picture)) == 24
        plain.sender.set_fec_percent(0)
        assert len(plain.send(picture)) == 20, "not even the two that a client wants at least"
        plain.sender.set_fec_percent(1000)
        assert plain.sender.fec_percent == 255
        assert len(plain.send(picture)) == 71
        with pytest.raises(InvalidConfigError, match="4093 packets"):
            plain.send(bytes(4092 * 1376 - 7))


def test_a_picture_that_a_raised_percentage_would_leave_without_protection_keeps_what_was_asked_for() -> None:
    """Four blocks of 170 data packets go with 50 %, of 212 with 20 %; beyond, nothing does (section 7.3)."""
    with wire() as plain:
        plain.sender.set_fec_percent(50)
        assert plain.count(bytes(680 * 1376 - 8)) == 680 + 4 * 85
        assert plain.count(bytes(681 * 1376 - 8)) == 681 + 3 * 35 + 34
        assert plain.count(bytes(849 * 1376 - 8)) == 849
        assert plain.count(bytes(100 * 1376 - 8)) == 150
        assert plain.sender.fec_percent == 50


def test_a_picture_says_its_class_of_traffic_where_the_client_asked_for_one() -> None:
    marked = PLAIN.model_copy(update={"dscp": 40})
    for family, level, kind, option in (
        (socket.AF_INET, socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS),
        (socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS),
    ):
        for transport, expected in ((marked, 40 << 2), (PLAIN, 0)):
            with wire(transport, family) as one:
                end = one.end
                end.setsockopt(level, option, 1)
                one.sender.submit(AccessUnit(b"x", key=True, frame=0, pts_ns=0, stamps=Stamps()))
                ancillary = end.recvmsg(4096, 256)[1]
                assert [item[2][0] for item in ancillary if item[:2] == (level, kind)] == [expected]


def test_what_a_reader_of_the_artefacts_is_told_has_no_key() -> None:
    transport = PLAIN.model_copy(update={"packet_size": 1360, "key": KEY.hex()})
    assert KEY.hex() not in repr(transport)
    with wire(transport) as sealed:
        described = sealed.sender.describe()
        assert 0 < described.pop("rtp_origin_ns") - 10**18 <= monotonic_ns()
        assert described == {"packet_size": 1360, "min_fec": 2, "codec": "h264", "encrypted": True}


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_client_gets_every_picture_byte_for_byte_with_its_time_and_latency(key: bytes | None) -> None:
    size = 1360 if key else 1392
    transport = GameStreamTransport(packet_size=size, codec="av1", key=key.hex() if key else "")
    spec = SPEC.model_copy(update={"transport": transport.transport()})
    with connected() as (one, other):
        client = ClientStream(GameStreamConfig(packet_size=size, codec="av1", key=key), other.fileno())
        sender = GameStreamSender(spec, one.fileno())
        origin = sender.describe()["rtp_origin_ns"]
        for number, length in enumerate((300_000, 1, 1369, 2_000)):
            data = bytes(number + i & 255 for i in range(length))
            now = monotonic_ns()
            pts = origin - spec.clock.offset_ns + number * 10**9 + 5
            stamps = Stamps(now - 3_000_000, now, now, now)
            sender.submit(AccessUnit(data, key=number == 0, frame=number, pts_ns=pts, stamps=stamps))
            frame = client.next_frame(30)
            assert frame is not None
            got = bytes(memoryview(frame))
            assert got[:length] == data
            assert got[length:] in {b"", bytes.fromhex("7a0700000000000080")}, "or AV1's own padding"
            assert (frame.index, frame.key, frame.gap) == (number + 1, number == 0, 0)
            assert abs(frame.pts_ns - number * 10**9) < 2 * 11_112
            assert frame.host_latency_ns >= 3_000_000
        sender.close()
        client.close()
        stats = client.stats()
        assert (stats["packets_lost"], stats["frames_complete"]) == (0, 4)
        assert sum(stats[name] for name in stats if name.startswith("rejected_")) == 0
