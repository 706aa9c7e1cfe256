"""The positional messages Hello, Welcome and Start: bytes to frozen dataclasses and back.

Layouts and leniencies are those of punktfunk/1 sections 2.1, 2.4 and 2.5. Both Hello and Welcome grew at
their end with every release; a field that is ``None`` was absent (or is not to be sent), and what absence
means is said at the field. Decoders raise :class:`~punktfunk.errors.ProtocolError` and nothing else, whatever
the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag

from punktfunk.errors import ProtocolError, UnitError
from punktfunk.units import Mode, Resolution

MAGIC = b"PKF1"
WIRE_VERSION = 2
ACCEPTED_VERSIONS = (2, 3)
"""v0.7.3 alone says 3 (its library number leaked to the wire); everyone else says 2 (section 2.5)."""

HELLO_MIN_BYTES = 20
WELCOME_MIN_BYTES = 53
START_MIN_BYTES = 6
MAX_NAME_BYTES = 64
MAX_LAUNCH_BYTES = 128
HDR_BLOCK_BYTES = 28


class Codecs(IntFlag):
    """Video codecs as bits of Hello and, one at a time, of Welcome (section 2.5)."""

    H264 = 1
    HEVC = 2
    AV1 = 4
    PYROWAVE = 8


class ClientCaps(IntFlag):
    """What a client can do, as bits of Hello (v0.18.0); those of later releases are left alone."""

    CURSOR = 0x01
    """Draws the pointer itself (section 3.8)."""


class HostCaps(IntFlag):
    """What a host does, as bits of Welcome (v0.9.1); a bit that a client has not asked for is never set."""

    CURSOR = 0x08
    """Leaves the pointer out of the picture and tells it beside (section 3.8)."""


class FecCode(IntEnum):
    """FEC scheme byte: 1 is GF(2^16); anything else is read as GF(2^8)."""

    GF8 = 0
    GF16 = 1


class Cipher(IntEnum):
    """Data plane cipher byte of Welcome (v0.17.2)."""

    AES_128_GCM = 0
    CHACHA20_POLY1305 = 1


@dataclass(frozen=True, slots=True)
class WireMode:
    """Pixels and Hz of a mode as a peer wrote them, three numbers of 32 bits that may be no mode at all."""

    width: int
    height: int
    refresh_hz: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}@{self.refresh_hz}"

    @classmethod
    def of(cls, mode: Mode) -> WireMode:
        """Return how a mode is written."""
        return cls(mode.width, mode.height, mode.refresh_hz)

    def checked(self) -> Mode:
        """Return the mode; raise ``UnitError`` where these numbers are none."""
        return Mode(self.width, self.height, self.refresh_hz)

    @property
    def dimensions_allowed(self) -> bool:
        """True when width and height are even and within 2..8192 (section 2.3 point 6)."""
        try:
            Resolution(self.width, self.height)
        except UnitError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first message; 20 bytes are enough, 21 is the first release's size."""

    mode: WireMode
    version: int = WIRE_VERSION
    compositor: int | None = 0
    gamepad: int | None = None
    bitrate_kbps: int | None = None
    """Wanted bitrate; ``None`` and 0 leave it to the host."""
    name: str | None = None
    launch: str | None = None
    video_caps: int | None = None
    audio_channels: int | None = None
    codecs: Codecs | None = None
    """Codecs that the client decodes; absent means HEVC only."""
    preferred_codec: Codecs | None = None
    hdr_display: bytes | None = None
    """The opaque 28-byte HDR display block of v0.9.2."""
    client_caps: int | None = None
    """Bits of :class:`ClientCaps`."""
    max_shard_bytes: int | None = None
    audio_rate_hz: int | None = None
    audio_bits: int | None = None
    dropped_texts: int = 0
    """Of name and launch id, those that came too long or not in UTF-8 and therefore read as none (section 2.4)."""

    def encode(self) -> bytes:
        """Encode, ending after the last field that is present; absent ones before it get their defaults."""
        head = MAGIC + struct.pack(
            "<IIII", self.version, self.mode.width, self.mode.height, self.mode.refresh_hz
        )
        tail: list[tuple[bool, bytes]] = [
            (self.compositor is not None, bytes([self.compositor or 0])),
            (self.gamepad is not None, bytes([self.gamepad or 0])),
            (self.bitrate_kbps is not None, struct.pack("<I", self.bitrate_kbps or 0)),
            (self.name is not None, _short_text(self.name, MAX_NAME_BYTES)),
            (self.launch is not None, _short_text(self.launch, MAX_LAUNCH_BYTES)),
            (self.video_caps is not None, bytes([self.video_caps or 0])),
            (self.audio_channels is not None, bytes([_or(self.audio_channels, 2)])),
            (self.codecs is not None, bytes([self.codecs or 0])),
            (self.preferred_codec is not None, bytes([self.preferred_codec or 0])),
            (self.hdr_display is not None, self.hdr_display or b""),
            (self.client_caps is not None, bytes([self.client_caps or 0])),
            (self.max_shard_bytes is not None, struct.pack("<H", self.max_shard_bytes or 0)),
            (self.audio_rate_hz is not None, struct.pack("<I", _or(self.audio_rate_hz, 48000))),
            (self.audio_bits is not None, bytes([_or(self.audio_bits, 16)])),
        ]
        return head + _up_to_last_present(tail)

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        """Decode a Hello of any release; trailing bytes that nothing here knows are ignored."""
        _check(payload, "Hello", HELLO_MIN_BYTES)
        version, width, height, hertz = struct.unpack_from("<IIII", payload, 4)
        rest = _Tail(payload, HELLO_MIN_BYTES)
        hello = cls(
            mode=WireMode(width, height, hertz),
            version=version,
            compositor=rest.u8(),
            gamepad=rest.u8(),
            bitrate_kbps=rest.u32(),
            name=rest.text(MAX_NAME_BYTES),
            launch=rest.text(MAX_LAUNCH_BYTES),
            video_caps=rest.u8(),
            audio_channels=rest.u8(),
            codecs=_codecs(rest.u8()),
            preferred_codec=_codecs(rest.u8()),
        )
        # The block has no length of its own: it is there when at least 28 bytes are left.
        block = rest.take(HDR_BLOCK_BYTES) if rest.left >= HDR_BLOCK_BYTES else None
        return replace(
            hello,
            hdr_display=block,
            client_caps=rest.u8(),
            max_shard_bytes=rest.u16(),
            audio_rate_hz=rest.u32(),
            audio_bits=rest.u8(),
            dropped_texts=rest.dropped_texts,
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The host's answer to Hello: everything the data plane needs.

    ``key`` and ``salt`` are secrets: they are left out of ``repr`` by hand so that no log line carries them.
    """

    mode: WireMode
    udp_port: int
    key: bytes
    fec: FecCode = FecCode.GF16
    fec_percent: int = 20
    max_block_shards: int = 4096
    shard_bytes: int = 1200
    encrypt: bool = True
    salt: bytes = b"pkf1"
    frames: int = 0
    """Frames that a verification stream sends; 0 is an ordinary, unbounded stream."""
    version: int = WIRE_VERSION
    compositor: int | None = 0
    gamepad: int | None = None
    bitrate_kbps: int | None = None
    bit_depth: int | None = None
    colour: tuple[int, int, int, int] | None = None
    """CICP primaries, transfer, matrix and full-range flag; absent means 1, 1, 1, 0 (BT.709, limited)."""
    chroma_idc: int | None = None
    audio_channels: int | None = None
    codec: Codecs | None = None
    """Codec of the stream; absent means HEVC."""
    host_caps: int | None = None
    """Bits of :class:`HostCaps`."""
    cipher: Cipher | None = None
    cipher_key: bytes | None = None

    def __repr__(self) -> str:
        return (
            f"Welcome(mode={self.mode}, udp_port={self.udp_port}, fec={self.fec.name}, "
            f"fec_percent={self.fec_percent}, max_block_shards={self.max_block_shards}, "
            f"shard_bytes={self.shard_bytes}, encrypt={self.encrypt}, frames={self.frames}, "
            f"bitrate_kbps={self.bitrate_kbps}, codec={self.codec!r})"
        )

    def encode(self) -> bytes:
        """Encode, ending after the last field that is present."""
        if len(self.key) != 16 or len(self.salt) != 4:
            raise ValueError("the key takes 16 bytes and the salt 4")
        mode = self.mode
        head = MAGIC + struct.pack(
            "<IHIII", self.version, self.udp_port, mode.width, mode.height, mode.refresh_hz
        )
        head += struct.pack(
            "<BBHHB", self.fec, self.fec_percent, self.max_block_shards, self.shard_bytes, self.encrypt
        )
        head += self.key + self.salt + struct.pack("<I", self.frames)
        tail: list[tuple[bool, bytes]] = [
            (self.compositor is not None, bytes([self.compositor or 0])),
            (self.gamepad is not None, bytes([self.gamepad or 0])),
            (self.bitrate_kbps is not None, struct.pack("<I", self.bitrate_kbps or 0)),
            (self.bit_depth is not None, bytes([_or(self.bit_depth, 8)])),
            (self.colour is not None, bytes(self.colour or (1, 1, 1, 0))),
            (self.chroma_idc is not None, bytes([_or(self.chroma_idc, 1)])),
            (self.audio_channels is not None, bytes([_or(self.audio_channels, 2)])),
            (self.codec is not None, bytes([_or(self.codec, Codecs.HEVC)])),
            (self.host_caps is not None, bytes([self.host_caps or 0])),
            (self.cipher is not None, bytes([self.cipher or 0]) + (self.cipher_key or b"")),
        ]
        return head + _up_to_last_present(tail)

    @classmethod
    def decode(cls, payload: bytes) -> Welcome:
        """Decode a Welcome of any release (53 bytes are enough).

        Raises ``ProtocolError`` for a cipher byte that no release defines, as every release does.
        """
        _check(payload, "Welcome", WELCOME_MIN_BYTES)
        version, port, width, height, hertz = struct.unpack_from("<IHIII", payload, 4)
        scheme, percent, block, shard, encrypt = struct.unpack_from("<BBHHB", payload, 22)
        (frames,) = struct.unpack_from("<I", payload, 49)
        rest = _Tail(payload, WELCOME_MIN_BYTES)
        welcome = cls(
            mode=WireMode(width, height, hertz),
            udp_port=port,
            key=payload[29:45],
            fec=FecCode.GF16 if scheme == FecCode.GF16 else FecCode.GF8,
            fec_percent=percent,
            max_block_shards=block,
            shard_bytes=shard,
            encrypt=encrypt != 0,
            salt=payload[45:49],
            frames=frames,
            version=version,
            compositor=rest.u8(),
            gamepad=rest.u8(),
            bitrate_kbps=rest.u32(),
            bit_depth=rest.u8(),
            colour=_colour(rest.take(4)),
            chroma_idc=rest.u8(),
            audio_channels=rest.u8(),
            codec=_codecs(rest.u8()),
            host_caps=rest.u8(),
        )
        cipher = rest.u8()
        if cipher is None:
            return welcome
        if cipher not in tuple(Cipher):
            raise ProtocolError(f"Welcome names cipher {cipher}, which no release defines")
        key = rest.take(32) if cipher == Cipher.CHACHA20_POLY1305 else None
        if cipher == Cipher.CHACHA20_POLY1305 and key is None:
            raise ProtocolError("Welcome names ChaCha20-Poly1305 and carries no key for it")
        return replace(welcome, cipher=Cipher(cipher), cipher_key=key)


@dataclass(frozen=True, slots=True)
class Start:
    """The client is ready: stream to its UDP port (a punch from elsewhere takes precedence)."""

    udp_port: int

    def encode(self) -> bytes:
        """Encode in 6 bytes."""
        return MAGIC + struct.pack("<H", self.udp_port)

    @classmethod
    def decode(cls, payload: bytes) -> Start:
        """Decode; bytes after the sixth are ignored."""
        _check(payload, "Start", START_MIN_BYTES)
        return cls(*struct.unpack_from("<H", payload, 4))


class _Tail:
    """Read optional fields one after another; once one is missing, so are all that follow."""

    __slots__ = ("_at", "_payload", "dropped_texts")

    def __init__(self, payload: bytes, start: int) -> None:
        self._payload = payload
        self._at = start
        self.dropped_texts = 0

    @property
    def left(self) -> int:
        return len(self._payload) - self._at

    def take(self, count: int) -> bytes | None:
        if self.left < count:
            self._at = len(self._payload)
            return None
        self._at += count
        return self._payload[self._at - count : self._at]

    def _number(self, count: int) -> int | None:
        raw = self.take(count)
        return None if raw is None else int.from_bytes(raw, "little")

    def u8(self) -> int | None:
        return self._number(1)

    def u16(self) -> int | None:
        return self._number(2)

    def u32(self) -> int | None:
        return self._number(4)

    def text(self, limit: int) -> str | None:
        """Length byte and UTF-8; too long, broken or empty text reads as none but still moves the cursor."""
        length = self.u8()
        if length is None:
            return None
        raw = self.take(length)
        if not raw:
            return None
        try:
            text = raw.decode() if length <= limit else None
        except UnicodeDecodeError:
            text = None
        self.dropped_texts += text is None
        return text


def _check(payload: bytes, what: str, minimum: int) -> None:
    if len(payload) < minimum:
        raise ProtocolError(f"{what} takes at least {minimum} bytes, got {len(payload)}")
    if payload[:4] != MAGIC:
        raise ProtocolError(f"{what} does not begin with the punktfunk/1 magic")


def _or(value: int | None, default: int) -> int:
    return default if value is None else int(value)


def _codecs(value: int | None) -> Codecs | None:
    return None if value is None else Codecs(value)


def _colour(raw: bytes | None) -> tuple[int, int, int, int] | None:
    return None if raw is None else (raw[0], raw[1], raw[2], raw[3])


def _short_text(text: str | None, limit: int) -> bytes:
    """Length byte and UTF-8, cut at a character boundary so that what is sent stays valid."""
    raw = (text or "").encode()
    if len(raw) > limit:
        raw = raw[:limit].decode(errors="ignore").encode()
    return bytes([len(raw)]) + raw


def _up_to_last_present(fields: list[tuple[bool, bytes]]) -> bytes:
    last = max((place for place, (present, _) in enumerate(fields) if present), default=-1)
    return b"".join(raw for _, raw in fields[: last + 1])
