"""What each path of GameStream's HTTP answers, and to whom (gamestream sections 2 to 4)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk import log
from punktfunk.clock import monotonic_ns, realtime_ns
from punktfunk.errors import PunktfunkError, StatusError
from punktfunk.gamestream import xml
from punktfunk.gamestream.describe import ANY_10_BIT
from punktfunk.gamestream.launch import LaunchRequest
from punktfunk.gamestream.pairing import (
    BeginPairing,
    ChallengeAnswer,
    ClientChallenge,
    ClientSecret,
    PairCheck,
    parse_pair,
)
from punktfunk.gamestream.ports import Ports
from punktfunk.gamestream.serverinfo import ServerInfo, local_ip, unique_id
from punktfunk.host.gamestream.box_art import box_art
from punktfunk.host.gamestream.http_connection import HttpRequest, Reply
from punktfunk.host.gamestream.http_owner import HttpOwner
from punktfunk.host.gamestream.pairing import GameStreamPairing, HalfOpen, PairingKey
from punktfunk.host.pending import PENDING_LIFE_NS
from punktfunk.interfaces import mac_of
from punktfunk.neighbours import NO_MAC
from punktfunk.printable import MAX_PEER_CHARACTERS
from punktfunk.trust.store import PairedClient

_S = 1_000_000_000
_FAILED = {"/pair": "paired", "/launch": "gamesession", "/resume": "resume", "/cancel": "cancel"}
"""Elements that some clients look for before they look at the status: 0 where a request is refused."""
_BUSY = "another device pairs now"
_IN_THE_LOG = "this host is in trouble of its own, and its log says why"
_NOT_PAIRED = "this device is not paired with the host"

Fields = list[xml.Field]


class HttpRoutes:
    """Answer requests for one host."""

    def __init__(self, ports: Ports, owner: HttpOwner, pairing: GameStreamPairing) -> None:
        identity = pairing.identity
        self._ports, self._owner, self._pairing = ports, owner, pairing
        self._unique_id = unique_id(identity.fingerprint)
        self._certificate = identity.certificate.public_bytes(Encoding.PEM).hex()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._drawing = asyncio.Semaphore(1)
        self._say = log.get("gamestream")
        self._open: dict[str, Callable[[HttpRequest], Awaitable[Reply]]] = {
            "/serverinfo": self._serverinfo,
            "/pair": self._pair,
            "/unpair": self._unpair,
        }
        self._closed: dict[str, Callable[[HttpRequest, PairedClient], Awaitable[Reply]]] = {
            "/applist": self._applist,
            "/appasset": self._appasset,
            "/launch": self._launch,
            "/resume": self._resume,
            "/cancel": self._cancel,
        }

    async def answer(self, request: HttpRequest) -> Reply:
        """Return the reply; whatever goes wrong is one too."""
        path = request.target.path
        try:
            return await self._routed(request)
        except StatusError as error:
            status, words = error.status, error.cause
        except PunktfunkError as error:
            self._say.error("request failed", path=path, code=error.code, cause=error.cause)
            # The cause is for whoever reads the log: it names files of this host.
            status, words = 500, _IN_THE_LOG
        except Exception:  # noqa: BLE001 - a client is told, whatever it was
            self._say.exception("request failed", path=path)
            status, words = 500, "internal error"
        failed: Fields = [(_FAILED[path], 0)] if path in _FAILED else []
        return Reply(xml.reply(failed, status=status, message=words, query=path[:MAX_PEER_CHARACTERS]))

    async def _routed(self, request: HttpRequest) -> Reply:
        path = request.target.path
        if request.method not in {"GET", "HEAD"}:
            raise StatusError("only GET is answered", status=405)
        if request.secure and request.client is None:
            raise StatusError(_NOT_PAIRED, status=401)
        if path in self._open:
            return await self._open[path](request)
        if path not in self._closed:
            raise StatusError("there is nothing of that name", status=404)
        if request.client is None:
            raise StatusError(_NOT_PAIRED, status=401)
        return await self._closed[path](request, request.client)

    async def _serverinfo(self, request: HttpRequest) -> Reply:
        paired = request.client is not None
        info = ServerInfo(
            hostname=socket.gethostname(),
            unique_id=self._unique_id,
            https_port=self._ports.https,
            http_port=self._ports.http,
            codec_mask=self._owner.codec_mask(),
            running_app=self._owner.running_app(request.client),
            local_ip=local_ip(request.local_address),
            mac=mac_of(request.local_address) if paired else NO_MAC,
            paired=paired,
        )
        return Reply(info.document())

    async def _pair(self, request: HttpRequest) -> Reply:
        query = request.target.query
        phase = parse_pair(query)
        now_ns = monotonic_ns()
        if isinstance(phase, PairCheck):
            if request.client is None:
                raise StatusError(_NOT_PAIRED, status=401)
            return _pairing(1)
        key = PairingKey.of(query, request.remote_address)
        match phase:
            case BeginPairing():
                device = self._pairing.begin(key, query.get("devicename", ""), phase, now_ns)
                # Without a certificate, a client says that the host pairs with another one.
                return _pairing(1) if device is None else await self._wait_for_pin(request, device)
            case ClientChallenge():
                return _pairing(1, ("challengeresponse", self._pairing.challenge(key, phase, now_ns).hex()))
            case ChallengeAnswer():
                return _pairing(1, ("pairingsecret", self._pairing.answer(key, phase, now_ns).hex()))
            case ClientSecret():
                done = self._pairing.finish(key, phase, now_ns, realtime_ns() // _S)
                self._say.info("paired" if done else "wrong PIN", address=request.remote_address)
                return _pairing(int(done))

    async def _wait_for_pin(self, request: HttpRequest, device: HalfOpen) -> Reply:
        """Hold the reply until a person has entered the PIN, or there will be none."""
        request.on_gone = lambda: self._pairing.drop(device)
        request.hold()
        try:
            async with asyncio.timeout(PENDING_LIFE_NS / _S):
                await device.decided.wait()
        except TimeoutError:
            self._pairing.drop(device)
        request.on_gone = lambda: None
        if not device.pin_entered:
            raise StatusError("no PIN was entered for this device", status=400)
        return _pairing(1, ("plaincert", self._certificate))

    async def _unpair(self, request: HttpRequest) -> Reply:
        """End the pairing that a client gives up. Nobody has to prove anything here, so no paired one is removed."""
        self._pairing.cancel(PairingKey.of(request.target.query, request.remote_address))
        return Reply(xml.reply())

    async def _applist(self, _request: HttpRequest, _client: PairedClient) -> Reply:
        return Reply(xml.app_list(self._owner.apps(), hdr=bool(self._owner.codec_mask() & ANY_10_BIT)))

    async def _appasset(self, request: HttpRequest, _client: PairedClient) -> Reply:
        wanted = request.target.query.get("appid", "")
        title = next((app.title for app in self._owner.apps() if str(app.id) == wanted), None)
        if title is None:
            words = "there is no such app"
            return Reply(xml.reply(status=404, message=words, query="/appasset"), http_status=404)
        async with self._drawing:
            return Reply(await asyncio.to_thread(box_art, title), content_type="image/png")

    async def _launch(self, request: HttpRequest, client: PairedClient) -> Reply:
        launch = LaunchRequest.parse(request.target.query, resume=False)
        url = await self._to_the_end(
            self._owner.launch(client, launch, request.local_address, request.remote_address)
        )
        return Reply(xml.reply([("sessionUrl0", url), ("gamesession", 1)]))

    async def _resume(self, request: HttpRequest, client: PairedClient) -> Reply:
        launch = LaunchRequest.parse(request.target.query, resume=True)
        url = await self._to_the_end(
            self._owner.resume(client, launch, request.local_address, request.remote_address)
        )
        return Reply(xml.reply([("sessionUrl0", url), ("resume", 1)]))

    async def _cancel(self, _request: HttpRequest, client: PairedClient) -> Reply:
        await self._to_the_end(self._owner.cancel(client))
        return Reply(xml.reply([("cancel", 1)]))

    async def _to_the_end(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Wait for what must not stop half-way when its client goes."""
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)


def _pairing(paired: int, *fields: xml.Field) -> Reply:
    return Reply(xml.reply([("paired", paired), *fields]))
