"""Read a capture: once for what streams there are and what came of their frames, once more to say it packet by packet.

The first pass finds keys, streams and the sizes of blocks; with these the second one can feed the core's receiver and
show each packet with what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from harness.analysis.records import Records
from harness.dissect import gamestream
from harness.dissect.control import ControlReader
from harness.dissect.datagrams import Datagram, Endpoint, find_datagram
from harness.dissect.frames import Outcome
from harness.dissect.keys import Keys
from harness.dissect.layers import described, layer_of
from harness.dissect.quic import BEGAN_BEFORE, Opener, Said
from harness.dissect.receiver import REORDER_WINDOW_NS, Receiver, receiver
from harness.dissect.streams import Stream, Streams
from harness.dissect.wires import Kind, Video, kind_of, may_be_quic
from harness.network.capture_file import CaptureFile, Interface, Record

MAX_PACKETS: Final = 1 << 20
"""Of a capture, unless asked for more: some minutes of a stream of 40 Mbit/s."""
_LIKE_QUIC: Final = 4
"""Datagrams, all of them that a stream has, which make it one of QUIC: one in four of anything begins so."""
MAX_SAID: Final = 4096
"""Control messages and QUIC datagrams that are kept."""


@dataclass(slots=True)
class Survey:
    """What is in a capture."""

    path: Path
    format: str = ""
    interfaces: list[Interface] = field(default_factory=list)
    packets: int = 0
    first_ns: int = 0
    last_ns: int = 0
    missed: int | None = None
    """Packets that the capturing program missed; None where the capture does not say."""
    damage: str = ""
    """Why the file was not read to its end."""
    unread: bool = False
    """Whether the capture goes on behind the packets that were asked for."""
    others: Counter[str] = field(default_factory=Counter)
    """Packets that are no UDP datagram, by what they are."""
    streams: Streams = field(default_factory=Streams)
    said: list[Said] = field(default_factory=list)
    said_beyond: int = 0
    closed: dict[int, str] = field(default_factory=dict)
    """Streams of QUIC that stay closed, by their number, and why."""
    keys_left_out: int = 0
    """Keys and secrets of key logs that were given up for newer ones."""
    received: dict[int, Received] = field(default_factory=dict)
    """What the core's receiver made of each stream that it could be given, by the stream's number."""

    @property
    def video(self) -> list[Stream]:
        """Streams of video, that with the most packets first."""
        found = [stream for stream in self.streams if stream.is_video and stream.packets]
        return sorted(found, key=lambda stream: -stream.packets)

    def note(self, record: Record) -> None:
        """Count a packet."""
        self.packets += 1
        self.first_ns = self.first_ns or record.time_ns
        self.last_ns = max(self.last_ns, record.time_ns)

    def keep(self, said: list[Said]) -> None:
        """Take what was said, which is then taken."""
        room = MAX_SAID - len(self.said)
        self.said += said[:room]
        self.said_beyond += max(0, len(said) - room)
        said.clear()


@dataclass(slots=True)
class Received:
    """What the core's receiver counted of a stream."""

    counters: dict[str, int]
    records: Records


@dataclass(slots=True)
class Row:
    """One datagram of a capture, read."""

    number: int
    """Of the packet in the capture, from 1, as Wireshark counts."""
    time_ns: int
    stream: Stream
    size: int
    what: str
    """``data``, ``recovery``, ``sealed``, or in words what another datagram is."""
    video: Video | None = None
    outcome: Outcome | None = None
    """What it brought to its frame by the count of shards."""
    verdict: str = ""
    """What became of it: in the core's receiver, or where that could not be asked by the count of shards."""


See = Callable[[Row], None]


class Reading:
    """A capture and what to open it with.

    ``ignore_checksums`` takes datagrams with a wrong UDP checksum for whole ones. ``reorder_window_ns`` is how long the
    receiver whose rules are asked keeps a whole frame back for an earlier one.
    """

    def __init__(
        self,
        path: Path,
        keys: Keys,
        *,
        ignore_checksums: bool = False,
        max_packets: int = MAX_PACKETS,
        reorder_window_ns: int = REORDER_WINDOW_NS,
    ) -> None:
        self._path = path
        self._keys = keys
        self._ignore_checksums = ignore_checksums
        self._max_packets = max_packets
        self._reorder_window_ns = reorder_window_ns

    def read(self, see: See | None = None) -> Survey:
        """Read the capture and return what is in it; ``see`` is shown each datagram, in the order of the file.

        Raises :class:`~punktfunk.errors.UsageError` where it is no capture.
        """
        first = Survey(self._path)
        for _row in self._walk(first, {}):
            pass
        made = {
            stream.number: receiver(stream, self._reorder_window_ns)
            for stream in first.video
            if stream.readable
        }
        receivers = {number: found for number, found in made.items() if found is not None}
        if not receivers and see is None:
            return first
        second = Survey(self._path)
        for row in self._walk(second, receivers):
            if see is not None:
                see(row)
        for number, found in receivers.items():
            counters, records = found.settle()
            second.received[number] = Received(dict(counters), records)
        return second

    def _walk(self, found: Survey, receivers: Mapping[int, Receiver]) -> Iterator[Row]:
        quic, control = Opener(self._keys), ControlReader(self._keys)
        speak_quic: set[frozenset[Endpoint]] = set()
        with CaptureFile(self._path) as capture:
            for record in capture:
                if found.packets >= self._max_packets:
                    found.unread = True
                    break
                found.note(record)
                while capture.secrets:
                    self._keys.take(capture.secrets.pop().splitlines())
                datagram = find_datagram(record)
                if isinstance(datagram, str):
                    found.others[datagram] += 1
                    continue
                if self._ignore_checksums and not datagram.intact:
                    datagram = replace(datagram, intact=True)
                ends = frozenset((datagram.source, datagram.destination))
                kind = _kind(datagram, quic, speaks_quic=ends in speak_quic)
                if kind is Kind.QUIC:
                    speak_quic.add(ends)
                stream = found.streams.of(datagram, kind)
                if stream is None:
                    continue
                row = Row(found.packets, datagram.time_ns, stream, datagram.length, str(kind))
                if stream.is_video or not datagram.intact:
                    self._fill(row, datagram, receivers.get(stream.number))
                elif kind is Kind.QUIC:
                    row.verdict = quic.read(datagram)
                else:
                    row.verdict = (
                        control.read(datagram) if kind is Kind.GAME_CONTROL else _words(kind, datagram)
                    )
                if datagram.cut:
                    row.verdict = f"cut to {len(datagram.payload)} bytes {row.verdict}".rstrip()
                if quic.said:
                    found.keep(quic.said)
                yield row
            found.closed = _closed(found.streams, quic)
            found.keys_left_out = self._keys.left_out
            found.format, found.interfaces = capture.format, capture.interfaces
            found.missed, found.damage = capture.missed, capture.damage

    def _fill(self, row: Row, datagram: Datagram, made: Receiver | None) -> None:
        """Fill in what a datagram of video is, and what became of it."""
        if not datagram.intact:
            row.verdict = "damaged: wrong checksum"
            return
        row.video, row.outcome = row.stream.take(datagram, self._keys)
        shard = row.video.shard
        row.what = row.video.why if shard is None else "data" if shard.is_data else "recovery"
        row.verdict = "" if row.outcome is None else str(row.outcome)
        if made is not None and not datagram.cut:
            row.verdict = made.take(datagram.payload, datagram.time_ns)


def _kind(datagram: Datagram, quic: Opener, *, speaks_quic: bool) -> Kind:
    """Return what a datagram is; QUIC of an unknown beginning where a secret of the key log opens it."""
    kind = kind_of(datagram.payload, quic=speaks_quic)
    unknown = kind is Kind.OTHER and datagram.intact and may_be_quic(datagram.payload)
    return Kind.QUIC if unknown and quic.takes_up(datagram) else kind


def _closed(streams: Streams, quic: Opener) -> dict[int, str]:
    """Return which streams of QUIC stay closed, and why."""
    found = {}
    for stream in streams:
        why = ""
        if stream.kind is Kind.QUIC:
            why = quic.why_closed(frozenset((stream.source, stream.destination)))
        elif _LIKE_QUIC <= stream.quic_like == stream.packets + stream.damaged:
            why = BEGAN_BEFORE
        if why:
            found[stream.number] = why
    return found


def _words(kind: Kind, datagram: Datagram) -> str:
    """Return in a line what a ping, a packet of sound or a punch says."""
    layer = {Kind.GAME_SOUND: gamestream.Rtp, Kind.GAME_PING: gamestream.Ping}.get(kind)
    return described(layer_of(layer, datagram.payload))
