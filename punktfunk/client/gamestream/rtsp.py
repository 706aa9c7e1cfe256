"""Agreeing on a stream with a host by RTSP: seven requests, one connection each (gamestream section 5)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from punktfunk.client.gamestream.host import RtspPlace
from punktfunk.client.gamestream.wish import StreamChoice
from punktfunk.errors import CryptoError, HandshakeError, ProtocolError, StatusError
from punktfunk.gamestream.describe import Description
from punktfunk.gamestream.ping import PAYLOAD_BYTES
from punktfunk.gamestream.rtsp import Headers, RtspRequest, RtspResponse
from punktfunk.gamestream.rtsp_cipher import FrameReader, RtspCipher
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

MAX_REPLY_BYTES: Final = 1 << 20
ANSWER_LIMIT_S: Final = 15.0
CONNECT_LIMIT_S: Final = 10.0
REFUSED_AGAIN_S: Final = 0.5
"""A port that refuses is tried again so often, for as long as connecting may take."""
CLIENT_VERSION: Final = "14"

_SERVER_PORT = re.compile(r"server_port=([0-9]{1,5})")
_DEFAULT_PORTS = {"audio": 48000, "video": 47998, "control": 47999}
_TARGETS = {"audio": "streamid=audio/0/0", "video": "streamid=video/0/0", "control": "streamid=control/13/0"}


@dataclass(frozen=True, slots=True)
class Media:
    """Where one kind of stream is sent from; ``ping`` is what the host knows this client's pings by."""

    port: int
    ping: bytes


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the host said in SETUP."""

    audio: Media
    video: Media
    control_port: int
    connect_data: int


class RtspSession:
    """One negotiation; :meth:`describe`, :meth:`set_up` and :meth:`play` go in this order.

    Methods raise ``HandshakeError`` where the host does not answer in time, ``StatusError`` for what it refuses,
    ``ProtocolError`` and ``CryptoError`` for what is no answer.
    """

    def __init__(
        self, address: str, place: RtspPlace, key: bytes, *, high_quality_sound: bool, source: str
    ) -> None:
        self._address = address
        self._place = place
        self._cipher = RtspCipher(key, "client") if place.encrypted else None
        # For stereo, this text is the only sign of quality that there is (gamestream section 5.2).
        self._host_text = place.host if high_quality_sound else "0.0.0.0"  # noqa: S104 - a text of the wire
        self._source = source
        self._sequence = 0
        self._session: str | None = None
        self._video_port = _DEFAULT_PORTS["video"]

    async def describe(self) -> Description:
        """Return what the host can do."""
        url = f"rtsp://{self._host_text}:{self._place.port}"
        await self._ask("OPTIONS", url)
        reply = await self._ask("DESCRIBE", url, {"Accept": "application/sdp", **_NOT_CACHED})
        return Description.decode(reply.body)

    async def set_up(self) -> Agreed:
        """Return where sound, video and control are."""
        audio = await self._set_up("audio")
        session = audio.headers.get("Session", "").partition(";")[0].strip()
        if not session:
            raise ProtocolError("the host's answer to SETUP has no Session")
        self._session = printable(session, MAX_PEER_CHARACTERS)
        video, control = await self._set_up("video"), await self._set_up("control")
        self._video_port = _port(video, "video")
        return Agreed(
            Media(_port(audio, "audio"), _ping(audio)),
            Media(self._video_port, _ping(video)),
            _port(control, "control"),
            _connect_data(control),
        )

    async def play(self, choice: StreamChoice) -> None:
        """Announce what is wanted and have the host begin."""
        body = choice.payload(self._source, self._video_port)
        about = {"Content-type": "application/sdp", "Content-length": str(len(body))}
        await self._ask("ANNOUNCE", _TARGETS["control"], about, body)
        await self._ask("PLAY", "/")

    async def _set_up(self, kind: str) -> RtspResponse:
        transport = {"Transport": "unicast;X-GS-ClientPort=50000-50001", **_NOT_CACHED}
        return await self._ask("SETUP", _TARGETS[kind], transport)

    async def _ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> RtspResponse:
        self._sequence += 1
        fields = {
            "CSeq": str(self._sequence),
            "X-GS-ClientVersion": CLIENT_VERSION,
            "Host": self._host_text,
            **({} if self._session is None else {"Session": self._session}),
            **(headers or {}),
        }
        message = RtspRequest(method, target, Headers(fields), body).encode()
        raw = await self._exchange(method, message if self._cipher is None else self._cipher.seal(message))
        reply = RtspResponse.decode(raw if self._cipher is None else self._opened(raw))
        if reply.status != 200:
            words = printable(reply.reason, MAX_PEER_CHARACTERS)
            raise StatusError(
                f"the host refused {method} with status {reply.status}: {words}", "", status=reply.status
            )
        return reply

    def _opened(self, raw: bytes) -> bytes:
        assert self._cipher is not None
        frame = FrameReader(MAX_REPLY_BYTES).feed(raw)
        if frame is None:
            raise CryptoError("the host's encrypted RTSP answer is cut short")
        return self._cipher.open(frame)

    async def _exchange(self, method: str, message: bytes) -> bytes:
        """Send one message over a connection of its own and return all that the host sends until it closes."""
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                writer.write(message)
                raw = bytearray()
                while more := await reader.read(MAX_REPLY_BYTES):
                    raw += more
                    if len(raw) > MAX_REPLY_BYTES:
                        raise ProtocolError(f"the host's answer to {method} is too long")
        except TimeoutError:
            raise HandshakeError(
                f"the host did not end its answer to {method} within {ANSWER_LIMIT_S:.0f} s",
                "a host has to close the connection behind each answer",
            ) from None
        except OSError as error:
            raise HandshakeError(f"the host broke off {method}: {error.strerror or error}") from error
        finally:
            writer.close()
        return bytes(raw)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                while True:
                    try:
                        return await asyncio.open_connection(self._address, self._place.port)
                    except ConnectionRefusedError:
                        await asyncio.sleep(REFUSED_AGAIN_S)
        except TimeoutError:
            why: object = "nothing answers"
        except OSError as error:
            why = error.strerror or error
        raise HandshakeError(
            f"no RTSP connection to {self._address} port {self._place.port}: {why}",
            "does the host's firewall let it in?",
        )


_NOT_CACHED = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}


def _port(reply: RtspResponse, kind: str) -> int:
    found = _SERVER_PORT.search(reply.headers.get("Transport", ""))
    port = _DEFAULT_PORTS[kind] if found is None else int(found[1])
    if not 0 < port <= 65535:
        raise ProtocolError(f"the host sends {kind} from port {port}, which is none")
    return port


def _ping(reply: RtspResponse) -> bytes:
    payload = reply.headers.get("X-SS-Ping-Payload", "").encode()
    if len(payload) != PAYLOAD_BYTES:
        raise ProtocolError("the host gave no payload for pings", "this client speaks to current hosts only")
    return payload


def _connect_data(reply: RtspResponse) -> int:
    text = reply.headers.get("X-SS-Connect-Data", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) >= 1 << 32:
        raise ProtocolError("the host gave no data for the control connection")
    return int(text)
