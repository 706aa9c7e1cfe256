"""The server of GameStream: its listeners, the sessions of its clients, and the apps that they launch and see.

An app runs from its launch until it is cancelled or ends by itself (gamestream sections 4.3 to 4.5). Which one runs is
said to each client for itself: the one on the shared desktop any paired client may join by ``/resume``, one on a
desktop of its own is its client's alone. Sessions are told apart by their keys, never by where they come from.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from punktfunk import key_log, log
from punktfunk.app import App
from punktfunk.ending import EndReason
from punktfunk.errors import (
    AppRunningError,
    CapabilityError,
    CapacityFullError,
    PunktfunkError,
    StatusError,
)
from punktfunk.gamestream.announce import Announced
from punktfunk.gamestream.control import (
    FecStatus,
    IdrRequest,
    Invalidate,
    LongTermAck,
    LossStats,
    StartB,
)
from punktfunk.gamestream.describe import CodecModes, Description, Encryption
from punktfunk.gamestream.launch import LaunchRequest, rtsp_url
from punktfunk.gamestream.ping import PingBook
from punktfunk.gamestream.ports import BASE_PORT, Ports
from punktfunk.gamestream.surround import advertised
from punktfunk.host.client_session import ClientSession
from punktfunk.host.config import HostConfig
from punktfunk.host.gamestream.agreement import (
    datagram_bytes,
    hinted_mode,
    offered_features,
    offered_modes,
    require_stream,
    stream_request,
)
from punktfunk.host.gamestream.control_owner import ControlKeys, ControlMessage
from punktfunk.host.gamestream.control_server import ControlServer
from punktfunk.host.gamestream.http_server import HttpServer
from punktfunk.host.gamestream.listening import HeldPorts
from punktfunk.host.gamestream.media_ports import MediaPort
from punktfunk.host.gamestream.pairing import WIRE, GameStreamPairing
from punktfunk.host.gamestream.rtsp_server import RtspServer
from punktfunk.host.gamestream.sender import SENDER
from punktfunk.host.gamestream.session import GameStreamClient, GameStreamSession
from punktfunk.host.gamestream.session_keys import UsedKeys
from punktfunk.host.protocol_server import HostServices
from punktfunk.host.running_apps import RunningApp
from punktfunk.host.stream.handle import WorkerStream
from punktfunk.input import PadFeedback
from punktfunk.interfaces import reachable_addresses
from punktfunk.trust.store import PairedClient


class GameStreamServer:
    """A :class:`~punktfunk.host.protocol_server.ProtocolServer` for GameStream."""

    name = WIRE
    sender = SENDER

    def __init__(
        self,
        services: HostServices,
        pairing: GameStreamPairing,
        ports: Ports,
        *,
        held: HeldPorts | None = None,
    ) -> None:
        self.ports = ports
        self._held = held
        """The ports, where they were bound before."""
        self._apps = services.apps
        self.sessions: list[GameStreamSession] = []
        """Those that are not over, oldest first."""
        self._services, self._config = services, services.config
        self._pairing = pairing
        self._modes = CodecModes.H264
        self._counters: Counter[str] = Counter()
        self._used_keys = UsedKeys()
        self._pings: PingBook[GameStreamSession] = PingBook()
        bind = self._config.bind
        self._http = HttpServer(bind, ports, self, pairing)
        self._rtsp = RtspServer(bind, ports.rtsp, self)
        self._video = MediaPort(bind, ports.video, "video", self._pings, self._video_pinged)
        self._audio = MediaPort(bind, ports.audio, "sound", self._pings, self._audio_pinged)
        self._control = ControlServer(bind, ports.control, self)
        self._closing = False
        self._looking: asyncio.Task[None] | None = None
        self._log = log.get("host")

    # --- as a wire of the host -------------------------------------------------------------------------------------

    @property
    def counters(self) -> Mapping[str, int]:
        """What its listeners took and dropped."""
        counters = Counter(self._counters)
        for each in (self._http, self._rtsp, self._video, self._audio, self._control, self._used_keys):
            counters.update(each.counters)
        return counters

    async def open(self) -> None:
        """Listen; raise ``CapabilityError`` when a port is taken."""
        self._look_for_encoders()
        held = self._held = self._held or HeldPorts(self._config.bind, self.ports)
        self._video.open(held.take(self.ports.video))
        self._audio.open(held.take(self.ports.audio))
        self._control.open(held.take(self.ports.control))
        await self._rtsp.open(held.take(self.ports.rtsp))
        # Last: a client that it tells of this host goes on to the others at once.
        await self._http.open(held.take(self.ports.http), held.take(self.ports.https))
        self._log.info(
            "listening", bind=self._config.bind, wire=WIRE, http=self.ports.http, rtsp=self.ports.rtsp
        )

    def end_all(self) -> None:
        """End every session and publish none any more."""
        self._closing = True
        for session in list(self.sessions):
            session.end(EndReason.HOST_STOPPED)

    def close(self) -> None:
        """Stop to listen."""
        if self._looking is not None:
            self._looking.cancel()
        if self._held is not None:
            self._held.close()
        for each in (self._http, self._rtsp, self._video, self._audio, self._control):
            each.close()

    def revoke(self, fingerprint: str) -> None:
        """End what an unpaired client has, whether it streams or has only launched."""
        for session in list(self.sessions):
            if session.peer.fingerprint == fingerprint:
                self._services.sessions.end(session, EndReason.UNPAIRED)
        self._services.sessions.peripherals.kept_pads.unplug(fingerprint)

    def reconfigure(self, config: HostConfig) -> None:
        """Agree on streams by another configuration from now on."""
        former, self._config = self._config, config
        if (former.codec, former.encoder) != (config.codec, config.encoder):
            self._look_for_encoders()

    def banner(self) -> list[str]:
        """Return the line that tells a Moonlight user what to do."""
        places = ", ".join(self.places())
        return [
            f"gamestream   in Moonlight: add the host {places}, and enter the PIN it shows in the console here"
        ]

    def places(self) -> list[str]:
        """Return what Moonlight clients may be told to connect to."""
        port = "" if self.ports.base == BASE_PORT else f":{self.ports.base}"
        return [
            f"[{address}]{port}" if ":" in address and port else f"{address}{port}"
            for address in reachable_addresses(self._config.bind)
        ]

    # --- as the host's owner sees it -------------------------------------------------------------------------------

    def streams(self) -> list[GameStreamSession]:
        """Return the sessions that stream, oldest first."""
        return [session for session in self.sessions if session.streaming]

    def stop(self) -> None:
        """End every session; the app runs on."""
        for session in list(self.sessions):
            self._services.sessions.end(session, EndReason.ENDED_AT_HOST)

    def request_key_frame(self) -> bool:
        """Make the next frame of every stream a key frame; ``False`` when there is none."""
        streams = self.streams()
        for session in streams:
            session.want_key_frame()
        return bool(streams)

    # --- what HTTP asks (:class:`~punktfunk.host.gamestream.http_owner.HttpOwner`) -----------------------------------

    def paired(self, fingerprint: str) -> PairedClient | None:
        """Return the paired client whose certificate this is."""
        client = self._pairing.trust.find(fingerprint)
        return client if client is not None and client.wire == WIRE else None

    def running_app(self, client: PairedClient | None) -> int:
        """Return the number of the app that runs as far as a client goes; 0 when none does."""
        running = self._apps.seen_by(None if client is None else client.fingerprint)
        return 0 if running is None else running.app.id

    def apps(self) -> Sequence[App]:
        """Return what can be launched."""
        return self._apps.all()

    def codec_mask(self) -> int:
        """Return what the encoders make now."""
        return int(self._modes)

    async def launch(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        """Start an app and publish a session on it; one that others stream on the shared desktop is joined."""
        if self._apps.seen_by(client.fingerprint) is not None:
            raise StatusError("an app runs already: resume it, or quit it first", status=400)
        app = self._apps.find(request.app_id)
        if app is None:
            raise StatusError("this host has no such app", status=404)
        self._used_keys.require_new(request.rikey)
        try:
            running = self._apps.launch(app, client.fingerprint)
        except AppRunningError as error:
            raise _refused(error, 400) from error
        except CapabilityError as error:
            raise _refused(error, 503) from error
        joined = running.begun
        try:
            url = await self._enter(running, client, request, local_address, remote_address)
        except BaseException:
            if not joined and not running.sessions:
                await running.quit()
            raise
        return url

    async def resume(
        self, client: PairedClient, request: LaunchRequest, local_address: str, remote_address: str
    ) -> str:
        """Publish a session on the app that runs for a client, or on the shared desktop."""
        running = self._apps.of(client.fingerprint)
        if running is None:
            raise StatusError("nothing runs that could be resumed", status=503)
        return await self._enter(running, client, request, local_address, remote_address)

    async def cancel(self, client: PairedClient) -> None:
        """End the app that runs for a client, or on the shared desktop, and every stream of it."""
        running = self._apps.of(client.fingerprint)
        if running is not None:
            self._log.info("app cancelled", app=running.app.title, client=client.name)
            await running.quit()

    async def _enter(
        self,
        running: RunningApp,
        client: PairedClient,
        request: LaunchRequest,
        local_address: str,
        remote_address: str,
    ) -> str:
        """Publish a session on an app as soon as that runs."""
        await self.encoders_known()
        try:
            await running.ready(hinted_mode(self._config, request))
        except PunktfunkError as error:
            raise _refused(error, 503) from error
        # All of it may have changed meanwhile. Who is paired, too: what follows asks for the session's key alone.
        if self.paired(client.fingerprint) is None:
            raise StatusError("this device is not paired with the host any more", status=401)
        if self._closing:
            raise StatusError("the host is about to end", status=503)
        if running.ending:
            raise StatusError("the app is being quit", status=503)
        self._used_keys.require_new(request.rikey)
        session = GameStreamSession(
            self,
            GameStreamClient((remote_address, 0), client.fingerprint, client.name),
            request,
            ports=self.ports,
            description=Description.of(
                self._modes,
                features=offered_features(touch=self._services.sessions.takes_touch(running.desktop)),
                surround=advertised(request.surround_params),
            ),
        )
        try:
            self._services.sessions.reserve(session)
        except CapacityFullError as error:
            session.withdraw()
            raise StatusError(f"this host streams to as many as it may: {error.cause}", status=503) from error
        self._used_keys.add(request.rikey)
        key_log.note_rikey(request.rikeyid, request.rikey)
        session.app = running
        running.join(client.fingerprint, session)
        self.sessions.append(session)
        self._pings.expect(session, payload=session.ping_payload, address=None)
        return rtsp_url(local_address, self.ports.rtsp, encrypted=request.encrypted_rtsp)

    # --- what RTSP and the control server ask ----------------------------------------------------------------------

    def rtsp_sessions(self) -> Iterable[GameStreamSession]:
        """Return the sessions that are not over, the latest first."""
        return reversed([session for session in self.sessions if not session.ending])

    def session_for(self, connect_data: int, address: str) -> ControlKeys | None:
        """Return the session that waits for this control connection."""
        for session in reversed(self.sessions):
            announced = session.announced
            if announced is None or session.controlled or session.ending:
                continue
            if connect_data == session.connect_data or (
                connect_data == 0 and not announced.session_pings and session.remote_address == address
            ):
                return ControlKeys(
                    session, session.request.rikey, v2=Encryption.CONTROL_V2 in announced.encryption
                )
        return None

    def connected(self, session: ClientSession) -> None:
        """Let a session go on whose client is on the control connection."""
        assert isinstance(session, GameStreamSession)
        session.control_connected()

    def received(self, session: ClientSession, message: ControlMessage) -> None:
        """Take what a client says."""
        assert isinstance(session, GameStreamSession)
        match message:
            case IdrRequest() | Invalidate():
                # Reference frames are not invalidated, which was not offered either (section 8.2).
                session.key_frame_requested()
            case FecStatus():
                self._counters["gamestream_frame_reports"] += 1
                session.frame_status(message)
            case StartB() | LongTermAck() | LossStats():
                pass
            case _:
                self._services.sessions.received(session, message)

    def gone(self, session: ClientSession, reason: str) -> None:
        """End a session with its control connection."""
        assert isinstance(session, GameStreamSession)
        session.left(reason)

    def _video_pinged(self, session: GameStreamSession, connected: socket.socket) -> None:
        session.latched("video", connected)

    def _audio_pinged(self, session: GameStreamSession, connected: socket.socket) -> None:
        session.latched("audio", connected)

    # --- what its sessions ask (:class:`~punktfunk.host.gamestream.session.SessionOwner`) ----------------------------

    def agree(self, session: GameStreamSession, announced: Announced) -> None:
        """Judge what a client announces."""
        require_stream(self._config_of(session), self._modes, announced)
        if not announced.session_pings:
            # An old client, known by its address alone; of others, strangers behind it could draw the stream away.
            self._pings.expect(session, payload=session.ping_payload, address=session.remote_address)

    def start(self, session: GameStreamSession, announced: Announced) -> WorkerStream:
        """Give a session its stream."""
        try:
            return self._services.sessions.start(
                session,
                stream_request(self._config_of(session), session, announced, session.request.surround_params),
            )
        except CapacityFullError as error:
            raise StatusError(error.cause, status=503) from error

    def _config_of(self, session: GameStreamSession) -> HostConfig:
        return self._config if session.app is None else session.app.configured(self._config)

    def tell(self, session: GameStreamSession, message: PadFeedback) -> None:
        """Send something by the session's control connection."""
        self._control.send(session, message)

    def terminate(self, session: GameStreamSession, code: int) -> None:
        """End the session's control connection."""
        self._control.end(session, code)

    def packets_a_second(self, session: GameStreamSession) -> float:
        """Return how many packets of video left in the last second that its worker told of."""
        report, announced = self._services.sessions.report_of(session), session.announced
        if report is None or announced is None:
            return 0.0
        # All of them are of one size.
        return report.rates.get("wire_kbps", 0.0) * 1000 / 8 / datagram_bytes(announced)

    def session_over(self, session: GameStreamSession, reason: str) -> None:
        """Forget a session; the app that it saw runs on."""
        self.sessions.remove(session)
        self._pings.forget(session)
        self._video.forget(session)
        self._audio.forget(session)
        self._services.sessions.over(session, reason)
        if session.app is not None:
            session.app.leave(session)
            if session.request.persist_gamepads:
                self._keep_pads_until_over(session.app, session.peer.fingerprint)

    def _keep_pads_until_over(self, app: RunningApp, client: str) -> None:
        kept = self._services.sessions.peripherals.kept_pads
        if self.paired(client) is None:
            kept.unplug(client)
        app.when_over(client, lambda: kept.unplug(client))

    def _look_for_encoders(self) -> None:
        """Find out what is encoded beside H.264: a GPU may take a second the first time, and nobody waits for that."""
        if self._looking is not None:
            self._looking.cancel()
        self._modes = CodecModes.H264
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        self._modes = await asyncio.to_thread(offered_modes, self._config)

    async def encoders_known(self) -> None:
        """Wait until it is known what can be encoded."""
        while self._looking is not None and not self._looking.done():
            await asyncio.wait({self._looking})


def _refused(error: PunktfunkError, status: int) -> StatusError:
    """Return what a client is shown instead: a person reads it, who wants to know what to do about it, too."""
    words = f"{error.cause} ({error.hint})" if error.hint else error.cause
    return StatusError(words, status=status)
