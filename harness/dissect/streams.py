"""The streams of a capture: what of each came, by packets and by frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.dissect.datagrams import Datagram, Endpoint
from harness.dissect.frames import MAX_FRAMES, Frame, Numbers, Outcome
from harness.dissect.keys import Keys, StreamKey
from harness.dissect.wires import (
    ENCRYPTED,
    GAMESTREAM,
    VIDEO,
    Kind,
    Open,
    Video,
    extended,
    may_be_quic,
    opener,
    read_video,
)
from punktfunk.errors import CryptoError

MAX_STREAMS: Final = 1024
"""Of a capture; datagrams of further ones are counted alone."""
_KEY_ATTEMPTS: Final = 32
"""Packets of a stream on which all keys are tried."""

StreamId = tuple[Endpoint, Endpoint, str]


@dataclass(slots=True)
class Stream:
    """Datagrams of one kind in one direction."""

    number: int
    """By which it is named on the command line, from 1."""
    source: Endpoint
    destination: Endpoint
    kind: Kind
    packets: int = 0
    """Datagrams, those with a wrong checksum left out."""
    total_bytes: int = 0
    damaged: int = 0
    """Datagrams with a wrong checksum, which no socket gets."""
    first_ns: int = 0
    last_ns: int = 0
    numbers: Numbers = field(default_factory=Numbers)
    frames: dict[int, Frame] = field(default_factory=dict)
    frames_left_out: int = 0
    """Packets of frames beyond :data:`~harness.dissect.frames.MAX_FRAMES`."""
    unread: Counter[str] = field(default_factory=Counter)
    """Packets whose header could not be read, by the reason."""
    shard_bytes: int = 0
    """Length of a plain packet less its header, or of the whole plain packet on GameStream; 0 while none was read."""
    scheme: int = 0
    quic_like: int = 0
    """Datagrams of no known kind that may be QUIC of a connection whose handshake was not seen."""
    key: StreamKey | None = None
    _open: Open | None = None
    _attempts: int = 0

    @property
    def is_video(self) -> bool:
        """Whether frames are made of it."""
        return self.kind in VIDEO

    @property
    def is_gamestream(self) -> bool:
        """Whether it is video of GameStream."""
        return self.kind in GAMESTREAM

    @property
    def readable(self) -> bool:
        """Whether headers were read, so that there are frames."""
        return bool(self.frames)

    def read(self, datagram: Datagram, keys: Keys) -> Video:
        """Return what a packet of this stream of video says, opened by the key that fits."""
        if self.kind in ENCRYPTED and self._open is None and keys.streams and not datagram.cut:
            self._find_key(datagram.payload, keys)
        return read_video(self.kind, datagram.payload, datagram.length, self._open)

    def take(self, datagram: Datagram, keys: Keys) -> tuple[Video, Outcome | None]:
        """Count a packet of video; return what it says, and what it brought to its frame where that is known."""
        video = self.read(datagram, keys)
        if video.why == "does not authenticate":
            # Forged or changed: none of its numbers can be believed.
            self.unread[video.why] += 1
            return video, None
        fresh = (
            self.numbers.add(extended(max(self.numbers.highest, 0), video.number, video.bits))
            if video.bits
            else True
        )
        if video.shard is None:
            self.unread[video.why] += 1
            return video, None if fresh else Outcome.TWICE
        assert video.plain is not None
        self.shard_bytes = self.shard_bytes or len(video.plain) - (0 if self.is_gamestream else 40)
        self.scheme = video.scheme
        shard = video.shard
        frame = self.frames.get(shard.frame)
        if frame is None:
            if len(self.frames) >= MAX_FRAMES:
                self.frames_left_out += 1
                return video, None
            frame = self.frames[shard.frame] = Frame(shard.frame, shard.blocks, shard.frame_bytes)
        return video, frame.add(shard, datagram.time_ns)

    def _find_key(self, packet: bytes, keys: Keys) -> None:
        if self._attempts >= _KEY_ATTEMPTS:
            return
        self._attempts += 1
        for key in keys.streams:
            attempt = opener(self.kind, key)
            try:
                attempt(packet)
            except CryptoError:
                continue
            self.key, self._open = key, attempt
            return


class Streams:
    """All streams of a capture, in the order of their first packet."""

    def __init__(self) -> None:
        self._found: dict[StreamId, Stream] = {}
        self.beyond = 0
        """Datagrams of streams beyond :data:`MAX_STREAMS`."""

    def __iter__(self) -> Iterator[Stream]:
        """Yield the streams."""
        return iter(self._found.values())

    def of(self, datagram: Datagram, kind: Kind) -> Stream | None:
        """Return the stream that a datagram belongs to, and count it; None for one of a stream too many."""
        identity = (datagram.source, datagram.destination, str(kind))
        stream = self._found.get(identity)
        if stream is None:
            if len(self._found) >= MAX_STREAMS:
                self.beyond += 1
                return None
            stream = Stream(len(self._found) + 1, datagram.source, datagram.destination, kind)
            stream.first_ns = datagram.time_ns
            self._found[identity] = stream
        stream.last_ns = datagram.time_ns
        stream.quic_like += kind is Kind.OTHER and may_be_quic(datagram.payload)
        if datagram.intact:
            stream.packets += 1
            stream.total_bytes += datagram.length
        else:
            stream.damaged += 1
        return stream
