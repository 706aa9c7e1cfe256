"""What a client asks of a GameStream host by HTTP: what it is, pairing, its apps, launch, resume and quit."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from punktfunk import key_log
from punktfunk.addresses import host_of, require_interface, resolved_hosts, socket_address
from punktfunk.client.gamestream.exchange import PairingExchange, new_pin
from punktfunk.client.gamestream.http import CONNECT_LIMIT_S, LAUNCH_LIMIT_S, QUIT_LIMIT_S, TlsIdentity, ask
from punktfunk.client.gamestream.known_hosts import PairedHost, PairedHosts
from punktfunk.client.gamestream.reply import ListedApp, Reply, ServerInfo, apps_of
from punktfunk.errors import (
    ConfigError,
    HandshakeError,
    HostNotFoundError,
    PairingError,
    ProtocolError,
    StatusError,
)
from punktfunk.gamestream.ports import BASE_PORT, Ports
from punktfunk.printable import printable
from punktfunk.trust.identity import Identity, Role
from punktfunk.units import Mode

_NOT_PAIRED: Final = 401


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The key of one session, and the number that its audio counts from."""

    key: bytes = field(repr=False)
    key_id: int

    @classmethod
    def draw(cls) -> StreamKey:
        """Draw anew; every launch and resume has its own."""
        return cls(secrets.token_bytes(16), secrets.randbits(32) - (1 << 31))


@dataclass(frozen=True, slots=True)
class LaunchWish:
    """What a launch or resume asks for, beside app and key."""

    mode: Mode
    channels: int = 2
    channel_mask: int = 3
    host_audio: bool = False
    encrypted_rtsp: bool = True
    hdr: bool = False
    keep_gamepads: bool = False

    def query(self, app_id: int, key: StreamKey) -> dict[str, str]:
        """Return it as clients write it (gamestream section 4.3)."""
        resolution = self.mode.resolution
        query = {
            "appid": str(app_id),
            "mode": f"{resolution.width}x{resolution.height}x{self.mode.refresh_hz}",
            "additionalStates": "1",
            "sops": "0",
            "rikey": key.key.hex(),
            "rikeyid": str(key.key_id),
            "localAudioPlayMode": str(int(self.host_audio)),
            "surroundAudioInfo": str(self.channel_mask << 16 | self.channels),
            "remoteControllersBitmap": "0",
            "gcmap": "0",
            "gcpersist": str(int(self.keep_gamepads)),
        }
        if self.hdr:
            query["hdrMode"] = "1"
        if self.encrypted_rtsp:
            query["corever"] = "1"
        return query


@dataclass(frozen=True, slots=True)
class RtspPlace:
    """Where the stream is agreed on: encrypted or not, at which port, and the text that stands for the host there."""

    url: str
    port: int
    encrypted: bool

    @classmethod
    def of(cls, url: str) -> RtspPlace:
        """Read ``sessionUrl0``; raise ``ProtocolError`` for what is none."""
        scheme, separator, rest = url.partition("://")
        host, colon, port = rest.rpartition(":")
        valid = port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535
        # The text goes into request lines: nothing that ends one may be in it.
        if scheme not in {"rtsp", "rtspenc"} or not separator or not colon or not valid or not _plain(host):
            raise ProtocolError("the host gave no RTSP address for the stream", "is it a GameStream host?")
        return cls(f"{host}:{port}", int(port), scheme == "rtspenc")

    @property
    def host(self) -> str:
        """The text before the port."""
        return self.url.rpartition(":")[0]


class GameHost:
    """A host by its address; what only paired clients may ask needs it to have been paired with.

    Methods raise ``HandshakeError`` where nobody answers, ``UntrustedPeerError`` for a host that was not paired with
    or shows another certificate, ``StatusError`` for what it refuses, and ``ProtocolError`` for what is no answer.
    """

    def __init__(self, address: tuple[str, int], state_dir: Path) -> None:
        self.address = address
        self.state_dir = state_dir
        self._tls: TlsIdentity | None = None
        self._https_port: int | None = None

    async def info(self) -> ServerInfo:
        """Return what the host says of itself by plain HTTP."""
        info = ServerInfo.of(await ask(self.address, "/serverinfo"))
        self._https_port = info.https_port or Ports(self.address[1]).https
        return info

    async def info_as_paired(self) -> ServerInfo:
        """Return what the host says to a paired client, and remember how it is woken."""
        info = ServerInfo.of(await self._paired_ask("/serverinfo"))
        PairedHosts(self.state_dir).note(self.address, mac=info.mac)
        return info

    async def apps(self) -> list[ListedApp]:
        """Return the host's apps."""
        return apps_of(await self._paired_ask("/applist"))

    async def launch(self, app_id: int, wish: LaunchWish, key: StreamKey) -> RtspPlace:
        """Start an app; return where its stream is agreed on."""
        key_log.note_rikey(key.key_id, key.key)
        return await self._begin("/launch", "gamesession", wish.query(app_id, key))

    async def resume(self, app_id: int, wish: LaunchWish, key: StreamKey) -> RtspPlace:
        """Stream the app that runs; return where that is agreed on."""
        key_log.note_rikey(key.key_id, key.key)
        return await self._begin("/resume", "resume", wish.query(app_id, key))

    async def quit(self) -> None:
        """End the app that runs; return once it is gone. None running is fine."""
        reply = await self._paired_ask("/cancel", limit_s=QUIT_LIMIT_S)
        if not reply.accepted("quit").said_yes("cancel"):
            raise StatusError("the host did not quit", "was the app started by another device?", status=599)

    async def pair(self, name: str, show_pin: Callable[[str], None], pin: str | None = None) -> PairedHost:
        """Pair with the host: show a PIN, wait for as long as it takes until somebody typed it there.

        The host is remembered in the state folder. Raises ``PairingError`` when another PIN was typed, or the host
        refuses.
        """
        hosts = PairedHosts(self.state_dir)
        info = await self.info()
        if info.version[0] < 7:
            raise PairingError(
                f"the host is of generation {info.version[0]}", "this client speaks 7 and later"
            )
        identity = Identity.load_or_create(self.state_dir, Role.GAMESTREAM_CLIENT)
        pin = pin or new_pin()
        exchange = PairingExchange(identity, pin)
        show_pin(pin)
        common = {"devicename": name, "updateState": "1"}
        reply = await self._pair_ask(common | exchange.hello(), limit_s=None)
        for step in (exchange.challenge, exchange.response, exchange.secret):
            try:
                query = step(reply)
            except PairingError:
                await self._give_up()
                raise
            reply = await self._pair_ask(common | query)
        last = exchange.end(reply)
        host = PairedHost(
            address=self.address[0],
            port=self.address[1],
            name=info.name,
            unique_id=info.unique_id,
            certificate=exchange.certificate_pem,
        )
        self._tls = self._identity_for(host)
        proof = await self._paired_ask("/pair", common | last)
        if not proof.accepted("end the pairing").said_yes("paired"):
            raise PairingError("the host has paired and denies it by TLS", "pair again")
        hosts.remember(host)
        await self.info_as_paired()
        return host

    async def _pair_ask(self, query: dict[str, str], limit_s: float | None = QUIT_LIMIT_S) -> Reply:
        return await ask(self.address, "/pair", query, limit_s=limit_s)

    async def _give_up(self) -> None:
        """Let the host forget a pairing that has failed here; one that cannot be reached forgets it by itself."""
        try:
            await ask(self.address, "/unpair")
        except (HandshakeError, ProtocolError):
            return

    async def _begin(self, path: str, element: str, query: dict[str, str]) -> RtspPlace:
        reply = (await self._paired_ask(path, query, limit_s=LAUNCH_LIMIT_S)).accepted(path[1:])
        if not reply.said_yes(element):
            raise StatusError(f"the host did not {path[1:]}", "look at its log", status=500)
        return RtspPlace.of(reply.root.value("sessionUrl0"))

    async def _paired_ask(
        self, path: str, query: dict[str, str] | None = None, *, limit_s: float = 7.0
    ) -> Reply:
        if self._tls is None:
            self._tls = self._identity_for(PairedHosts(self.state_dir).at(self.address))
        if self._https_port is None:
            await self.info()
        assert self._https_port is not None
        reply = await ask((self.address[0], self._https_port), path, query, tls=self._tls, limit_s=limit_s)
        if reply.status == _NOT_PAIRED:
            reply.accepted(f"answer {path}")
        return reply

    def _identity_for(self, host: PairedHost) -> TlsIdentity:
        Identity.load_or_create(self.state_dir, Role.GAMESTREAM_CLIENT)
        paths = Identity.paths(self.state_dir, Role.GAMESTREAM_CLIENT)
        return TlsIdentity(*paths, host.certificate_der)


async def resolve(text: str) -> tuple[str, int]:
    """Return the literal address of ``HOST[:PORT]``.

    Raises ``ConfigError`` for what is none, ``HostNotFoundError`` for a name that nobody has.
    """
    with contextlib.suppress(ValueError):  # a name, or an address with a port
        require_interface(ipaddress.ip_address(text))
        return host_of(socket_address(text, BASE_PORT)), BASE_PORT
    hint = "write an address or a name, with :PORT where it is not 47989"
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port or BASE_PORT
        async with asyncio.timeout(CONNECT_LIMIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, TimeoutError) as error:
        cause = error.strerror if isinstance(error, socket.gaierror) else "no name service answers"
        raise HostNotFoundError(
            f"{printable(text, 80)} is no host that can be found: {cause}", hint
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{printable(text, 80)} is no host and port: {error}", hint) from error
    if parts.netloc != text or not name:
        raise ConfigError(f"{printable(text, 80)} is more than host and port", hint)
    Ports(port)
    with contextlib.suppress(ValueError):  # of a name
        require_interface(ipaddress.ip_address(name))
    addresses = sorted(resolved_hosts(found), key=lambda address: ":" in address)
    return addresses[0], port


def _plain(text: str) -> bool:
    return 0 < len(text) <= 255 and text.isascii() and text.isprintable() and " " not in text
