"""A session of GameStream on the host: from its launch by HTTP over RTSP to its stream, and to its end.

It is published by ``/launch`` or ``/resume``, negotiated by RTSP, and streams once its client is on the control
connection and has pinged the video port: RTSP may be plain and pings are forged easily, but only its client has the key
of the control connection. A client that stops on the way is given up after 10 s (gamestream section
4.3); one that has gone on is there as long as its control connection is. The app that it sees is not the session's: it
goes on when the session ends (section 4.5).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

from punktfunk import log
from punktfunk.core._core import GameStreamAudio
from punktfunk.ending import EndReason
from punktfunk.gamestream.announce import Announced
from punktfunk.gamestream.control import GRACEFUL, FecStatus
from punktfunk.gamestream.damage import REPORT_S, DamageSum
from punktfunk.gamestream.describe import Description, Encryption
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.gamestream.ping import new_payload
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.rtsp_cipher import RtspCipher
from punktfunk.gamestream.rtsp_exchange import RtspExchange, SessionFacts
from punktfunk.host.client_session import ClientSession
from punktfunk.host.gamestream.traffic_class import mark_traffic
from punktfunk.host.running_apps import RunningApp
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.input import PadFeedback
from punktfunk.log_limit import LineWriter

STEP_LIMIT_S = 10.0
"""From the launch to PLAY, and from there to the stream: clients take a second (section 4.3)."""
FAILED = 0x80004005
"""What the client shows when the host cannot go on; it has no words for it (section 10.5, E_FAIL of Windows)."""
AUDIO_DSCP = 48
"""CS6, as hosts usually mark sound (section 7.9)."""

Medium = Literal["video", "audio"]


@dataclass(frozen=True, slots=True)
class GameStreamClient:
    """Who is at the other end: a paired client, by its certificate, and where it launched from."""

    address: tuple[str, int]
    fingerprint: str
    name: str


class SessionOwner(Protocol):
    """The server of the wire, around its sessions."""

    def agree(self, session: GameStreamSession, announced: Announced) -> None:
        """Judge what a client announces; raise ``StatusError`` where it cannot be streamed."""

    def start(self, session: GameStreamSession, announced: Announced) -> WorkerStream:
        """Give a session its stream; raise ``StatusError`` where there is none for it."""

    def tell(self, session: GameStreamSession, message: PadFeedback) -> None:
        """Send something by the session's control connection."""

    def terminate(self, session: GameStreamSession, code: int) -> None:
        """End the session's control connection, if it has one; :meth:`GameStreamSession.left` is called in any case."""

    def packets_a_second(self, session: GameStreamSession) -> float:
        """Return how many packets of video left in the last second that its worker told of; 0 before the first."""

    def session_over(self, session: GameStreamSession, reason: str) -> None:
        """Take note of the end; called once."""


class GameStreamSession(ClientSession):
    """One client from its launch to its end; belongs to the host's event loop.

    Counters of what it dropped beside its control connection: ``sound_unsent`` (the network took no more),
    ``dropped_frame_status`` (the client spoke of a block that cannot have been).
    """

    def __init__(
        self,
        owner: SessionOwner,
        client: GameStreamClient,
        request: LaunchRequest,
        *,
        ports: Ports,
        description: Description,
    ) -> None:
        self.request = request
        self.connect_data = secrets.randbelow(0xFFFF_FFFF) + 1
        """By which its control connection is known; never 0, which clients send that have none."""
        self.ping_payload = new_payload()
        self.app: RunningApp | None = None
        """What it streams, once it is published."""
        self.announced: Announced | None = None
        self.worker: WorkerStream | None = None
        self.cipher = RtspCipher(request.rikey, "host") if request.encrypted_rtsp else None
        self.exchange = RtspExchange(
            SessionFacts(description, ports, self.ping_payload, self.connect_data),
            on_announce=self._announce,
            on_play=self._play,
        )
        self.log: LineWriter = log.get("host").bind(peer=client.address[0], wire="gamestream")
        self.dropped_datagrams: Counter[str] = Counter()
        self.controlled = False
        """Whether its client is on the control connection."""
        self._owner, self._client = owner, client
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[Medium, socket.socket] = {}
        self._audio: GameStreamAudio | None = None
        self._pinged_video = False
        self._damage = DamageSum()
        self._damage_timer: asyncio.TimerHandle | None = None
        self._started = False
        self._reason = ""
        self._over = False
        self._timer = self._loop.call_later(STEP_LIMIT_S, self._late, "no RTSP after its launch")

    @property
    def peer(self) -> GameStreamClient:
        """The client."""
        return self._client

    @property
    def remote_address(self) -> str:
        """Where it launched from."""
        return self._client.address[0]

    @property
    def ending(self) -> bool:
        """True once the session ends and it is known why."""
        return bool(self._reason)

    @property
    def sounding(self) -> bool:
        """Whether sound can be sent."""
        return self._audio is not None and self.controlled and "audio" in self._sockets

    @property
    def streaming(self) -> bool:
        """Whether everything is there that a stream needs."""
        return self.worker is not None and self._pinged_video and self.controlled and not self.ending

    # --- what the client does --------------------------------------------------------------------------------------

    def latched(self, medium: Medium, connected: socket.socket) -> None:
        """Take the socket to the client, from the port that it has pinged; it is the session's from now on."""
        if self.ending:
            connected.close()
            return
        self._sockets[medium] = connected
        if medium == "audio" and (self.announced is None or self.announced.audio_qos):
            mark_traffic(connected, AUDIO_DSCP)
        self._go_on()

    def control_connected(self) -> None:
        """Take note that the client is on the control connection."""
        self.controlled = True
        self.log.info("control connected")
        self._go_on()

    def key_frame_requested(self) -> None:
        """Answer a request for an IDR; the first is the start of the stream, which begins with one anyhow."""
        if self._started:
            self.want_key_frame()
        self._started = True

    def want_key_frame(self) -> None:
        """Make the next frame a key frame; the worker knows requests that one under way answers."""
        if self.worker is not None:
            self.worker.request_keyframe(0)

    def frame_status(self, status: FecStatus) -> None:
        """Take note of a block that did not come whole; every 0.75 s FEC follows what has come together."""
        if not self._damage.take(status):
            self.dropped_datagrams["dropped_frame_status"] += 1

    def left(self, reason: str) -> None:
        """End with the client's control connection, which is gone; a session that the host ends is over then."""
        self.controlled = False
        self._close(f"client left: {reason}", None)
        if not self._over:
            self._over = True
            self._loop.call_soon(self._owner.session_over, self, self._reason)

    def _announce(self, announced: Announced) -> None:
        self._owner.agree(self, announced)
        self.announced = announced
        self.log.info(
            "announced",
            mode=str(announced.mode),
            codec=str(announced.codec),
            packet_bytes=announced.packet_bytes,
            encryption=int(announced.encryption),
        )

    def _play(self, announced: Announced) -> None:
        self.worker = self._owner.start(self, announced)
        encrypted = Encryption.AUDIO in announced.encryption
        self._audio = GameStreamAudio(
            self.request.rikey if encrypted else None, self.request.rikeyid, announced.packet_ms
        )
        self._timer.cancel()
        self._timer = self._loop.call_later(
            STEP_LIMIT_S, self._late, "no control connection or pings after PLAY"
        )
        self._go_on()

    def _go_on(self) -> None:
        """Take the next steps that have become possible; clients ping video behind their control connection."""
        if self.worker is None or self.ending or not self.controlled:
            return
        video = self._sockets.pop("video", None)
        if video is not None:
            self.worker.begin(video)
            video.close()
            self._pinged_video = True
        if self.streaming:
            self._timer.cancel()
            if self.announced is not None and self.announced.frame_status and self._damage_timer is None:
                self._damage_timer = self._loop.call_later(REPORT_S, self._sum_damage)

    def _sum_damage(self) -> None:
        """Let FEC follow the loss of the last while; of a client that says nothing, nothing was damaged."""
        self._damage_timer = self._loop.call_later(REPORT_S, self._sum_damage)
        packets = self._owner.packets_a_second(self) * REPORT_S
        loss_ppm = self._damage.loss_ppm(packets)
        # Before the worker has told what it sends, there is nothing to set the client's words against.
        if packets and self.worker is not None:
            self.worker.report_loss(loss_ppm)

    # --- what the host does ----------------------------------------------------------------------------------------

    def end(self, reason: EndReason) -> None:
        """End the session at once, its stream before its connection; its client closes its window quietly."""
        self._close(reason.value, GRACEFUL)

    def withdraw(self) -> None:
        """Take back a session that was not published after all."""
        self._reason = "not published"
        self._timer.cancel()

    def stream_finished(self, reason: str) -> None:
        """Close in order once the worker has sent its last frame."""
        self._close(reason, GRACEFUL)

    def stream_failed(self, reason: str) -> None:
        """Close as what failed."""
        self._close(reason, FAILED)

    def send_sound(self, number: int, encoded_ns: int, opus: bytes) -> None:
        """Send a packet of sound, and two of parity behind each fourth, once the client has pinged the audio port.

        As all else that is sent, it waits for the control connection.
        """
        del number, encoded_ns
        connected = self._sockets.get("audio")
        if connected is None or self._audio is None or not self.controlled or not opus:
            return
        for packet in self._audio.packet(opus):
            try:
                connected.send(packet)
            except OSError:
                self.dropped_datagrams["sound_unsent"] += 1

    def send_feedback(self, feedback: PadFeedback) -> None:
        """Send what a pad of the client is to do."""
        if self.controlled:
            self._owner.tell(self, feedback)

    def _late(self, cause: str) -> None:
        self.log.warning("client did not go on", cause=cause)
        self._close(cause, GRACEFUL)

    def _close(self, reason: str, code: int | None) -> None:
        """Stop all that is sent; with a code the client is told, and the session is over once it knows that."""
        if self.ending:
            return
        self._reason = reason
        self._timer.cancel()
        if self._damage_timer is not None:
            self._damage_timer.cancel()
        if self.worker is not None:
            self.worker.stop()
        for connected in self._sockets.values():
            connected.close()
        self._sockets.clear()
        self.log.info("session over", reason=reason, **self.dropped_datagrams)
        if code is not None:
            self._owner.terminate(self, code)
