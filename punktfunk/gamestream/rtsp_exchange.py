"""What a host answers a client's RTSP requests of one session, and what it learns from them: no sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from punktfunk.errors import StatusError
from punktfunk.gamestream.announce import Announced, parse_announce
from punktfunk.gamestream.describe import Description
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp import Headers, RtspRequest, RtspResponse
from punktfunk.printable import MAX_PEER_CHARACTERS, printable

SESSION = "DEADBEEFCAFE"
"""What clients repeat and nobody looks at: sessions are told apart by their key or their address."""
LOW_QUALITY_HOST = "0.0.0.0"  # noqa: S104 - what clients write, never bound
METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "ANNOUNCE", "PLAY")


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a host tells the client of one session."""

    description: Description
    ports: Ports
    ping_payload: str
    """16 characters by which the session's pings are known."""
    connect_data: int
    """Unsigned, 32 bits: by which its control connection is known."""


class RtspExchange:
    """The requests of one session, in the order of section 5.2.

    ``on_announce`` is asked whether the stream can be had, ``on_play`` begins it, and both raise ``StatusError`` where
    that cannot be. What was announced last counts; PLAY begins once, however often a client repeats it.
    """

    def __init__(
        self,
        facts: SessionFacts,
        *,
        on_announce: Callable[[Announced], None],
        on_play: Callable[[Announced], None],
    ) -> None:
        self._facts = facts
        self._on_announce, self._on_play = on_announce, on_play
        self._announced: Announced | None = None
        self.high_quality_stereo = False
        """Whether the client asks for stereo of high quality, which only its ``Host`` header tells (section 5.2)."""
        self.playing = False
        """Whether the client has asked for the stream and got it."""

    def answer(self, request: RtspRequest) -> RtspResponse:
        """Return the answer; what cannot be done is one too, with its status and the reason in words."""
        headers = {"CSeq": request.sequence or "0"}
        try:
            more, body = self._answer(request)
        except StatusError as error:
            reason = printable(error.cause, MAX_PEER_CHARACTERS).encode("ascii", "replace").decode()
            return RtspResponse(error.status, Headers(headers), reason=reason)
        return RtspResponse(200, Headers({**headers, **more}), body)

    def _answer(self, request: RtspRequest) -> tuple[dict[str, str], bytes]:
        host = request.headers.get("Host")
        if host:
            self.high_quality_stereo = LOW_QUALITY_HOST not in host
        match request.method:
            case "OPTIONS":
                return {"Public": ", ".join(METHODS)}, b""
            case "DESCRIBE":
                return {}, self._facts.description.encode()
            case "SETUP":
                return self._set_up(request.stream), b""
            case "ANNOUNCE":
                self._announce(request.body)
            case "PLAY":
                self._play()
            case _:
                raise StatusError("this host knows no such RTSP method", status=501)
        return {"Session": SESSION}, b""

    def _set_up(self, stream: str | None) -> dict[str, str]:
        facts = self._facts
        match stream:
            case "audio":
                return self._media(facts.ports.audio)
            case "video":
                return self._media(facts.ports.video)
            case "control":
                return {**_session(facts.ports.control), "X-SS-Connect-Data": str(facts.connect_data)}
            case _:
                raise StatusError("no such stream", status=404)

    def _media(self, port: int) -> dict[str, str]:
        return {**_session(port), "X-SS-Ping-Payload": self._facts.ping_payload}

    def _announce(self, body: bytes) -> None:
        if self.playing:
            raise StatusError("the stream plays already", status=455)
        announced = parse_announce(body)
        self._on_announce(announced)
        self._announced = announced

    def _play(self) -> None:
        if self._announced is None:
            raise StatusError("nothing was announced that could be played", status=455)
        if not self.playing:
            self._on_play(self._announced)
            self.playing = True


def _session(port: int) -> dict[str, str]:
    return {"Session": f"{SESSION};timeout = 90", "Transport": f"server_port={port}"}
