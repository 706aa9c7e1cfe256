"""What a host leaves when one of its wires cannot be opened: nothing, and the error that says why."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from punktfunk import Host
from punktfunk.errors import CapabilityError, ConfigError, UntrustedPeerError
from punktfunk.host.config import HostConfig
from punktfunk.host.protocol_server import HostServices, ProtocolFactory
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from tests.support.echo_protocol import EchoServer


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def serving(folder: Path, *protocols: ProtocolFactory, port: int = 0) -> Serving:
    host = HostConfig(state_dir=folder, source=SyntheticSpec(frame_bytes=4000), port=port)
    config = ServeConfig(host=host, announce=False, gamestream=False, mgmt_bind="127.0.0.1:0")
    return Serving(config, protocols)


def of(made: list[EchoServer], kind: type[EchoServer] = EchoServer) -> ProtocolFactory:
    """Make a toy wire, and remember it."""

    def make(services: HostServices) -> EchoServer:
        made.append(kind(services))
        return made[-1]

    return make


class Unopenable(EchoServer):
    async def open(self) -> None:
        raise CapabilityError("the toy's port is taken")


class Unclosable(EchoServer):
    name = "unclosable"

    def close(self) -> None:
        super().close()
        raise OSError("the toy does not close")


class Desktop:
    """Stands where a desktop would, and tells whether it was ended."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_wire_that_cannot_open_says_so_though_those_after_it_never_opened(tmp_path: Path) -> None:
    async def go() -> None:
        made: list[EchoServer] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            host = serving(tmp_path, of(made), port=other.getsockname()[1])
            with pytest.raises(CapabilityError, match="port"):
                await host.__aenter__()
        assert [one.port for one in made] == [0]
        async with serving(tmp_path, of(made)):
            assert made[-1].port, "neither the folder nor the process keeps anything of it"

    run(go())


def test_those_that_opened_before_one_that_cannot_are_closed(tmp_path: Path) -> None:
    async def go() -> None:
        port = free_port()
        with pytest.raises(CapabilityError, match="the toy's port"):
            await serving(tmp_path, Unopenable, port=port).__aenter__()
        async with serving(tmp_path, port=port) as host:
            assert host.host.port == port

    run(go())


def test_a_wire_that_fails_to_close_keeps_no_other_open_and_no_desktop(tmp_path: Path) -> None:
    async def go() -> None:
        made: list[EchoServer] = []
        host = serving(tmp_path, of(made, Unclosable), of(made))
        await host.__aenter__()
        desktop = host.desktop = Desktop()  # type: ignore[assignment]
        with pytest.raises(OSError, match="does not close"):
            await host.__aexit__(None, None, None)
        for one in made:
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", one.port)) != 0, one.name
        assert desktop.closed

    run(go())


def test_two_wires_of_one_name_are_refused_before_either_opens(tmp_path: Path) -> None:
    async def go() -> None:
        made: list[EchoServer] = []
        with pytest.raises(ConfigError, match="two wires of this host are called echo"):
            await serving(tmp_path, of(made), of(made)).__aenter__()
        assert [one.port for one in made] == [0, 0]

    run(go())


def test_what_is_set_while_a_host_starts_holds_for_its_first_client() -> None:
    async def go() -> None:
        host = Host(HostConfig(source=SyntheticSpec(), trust=OpenTrust.LOOPBACK, port=0))
        starting = asyncio.create_task(host.__aenter__())
        await asyncio.sleep(0)
        host.reconfigure(max_sessions=1, fec_percent=7)
        await starting
        assert host.native is not None
        assert host.native.config == host.config
        host.reconfigure(fec_percent=8)
        assert host.native.config == host.config, "and so does what is set later"
        await host.__aexit__(None, None, None)

    run(go())


@pytest.mark.parametrize(
    ("fields", "kind", "why"),
    [
        ({}, ConfigError, "no client could connect"),
        ({"trust": OpenTrust.LOOPBACK, "bind": "0.0.0.0"}, UntrustedPeerError, "open trust is for loopback"),
        ({"trust": OpenTrust.LOOPBACK, "source": DesktopSpec()}, ConfigError, "was given no desktop"),
    ],
)
def test_a_host_that_could_let_in_nobody_or_anybody_or_show_nothing_does_not_open(
    fields: dict[str, Any], kind: type[Exception], why: str
) -> None:
    async def go() -> None:
        port = free_port()
        with pytest.raises(kind, match=why):
            await Host(HostConfig(port=port, **fields)).__aenter__()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((fields.get("bind", "127.0.0.1"), port))

    run(go())
