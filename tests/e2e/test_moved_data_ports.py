"""A NAT gives the client's data port another mapping in mid-stream: the stream follows, and follows nobody else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from punktfunk.native import data_port
from punktfunk.native.control import PUNCH
from tests.support.foreign_client import Foreign, Video, a_host, dial, run, welcomed

SILENCE_NS, SPAN_NS = 1_000_000_000, 300_000_000
FRAMES = 60 * 60


@pytest.fixture(autouse=True)
def _sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a move take one second of silence and not five; the ratio to the punches of these tests stays."""
    monkeypatch.setattr(data_port, "MOVE_SILENCE_NS", SILENCE_NS)
    monkeypatch.setattr(data_port, "MOVE_SPAN_NS", SPAN_NS)


def _mapping(video: Video, address: str = "127.0.0.1") -> socket.socket:
    """Open a port of the client's that the host has not seen, toward the host's data port."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.bind((address, 0))
    opened.connect(("127.0.0.1", video.port))
    return opened


async def _packets(mapping: socket.socket, count: int, *, punching: list[socket.socket]) -> bool:
    """Return whether so many packets come, while these ports punch; False after three times the silence."""
    loop = asyncio.get_running_loop()

    async def punch() -> None:
        while True:
            for each in punching:
                each.send(PUNCH)
            await asyncio.sleep(0.1)

    punches = loop.create_task(punch())
    try:
        async with asyncio.timeout(3 * SILENCE_NS / 1e9):
            for _ in range(count):
                await loop.sock_recv(mapping, 2048)
    except TimeoutError:
        return False
    finally:
        punches.cancel()
    return True


async def _streaming(client: Foreign) -> tuple[Video, socket.socket]:
    video = await welcomed(client)
    first = _mapping(video)
    client.send(video.start())
    async with asyncio.timeout(30):
        first.send(PUNCH)
        await asyncio.get_running_loop().sock_recv(first, 2048)
    return video, first


def test_a_stream_follows_a_client_whose_data_port_has_moved_and_moves_again() -> None:
    async def scenario() -> None:
        async with a_host(frames=FRAMES) as host, dial(host, ["pkf1"]) as client:
            video, first = await _streaming(client)
            first.close()  # the mapping is forgotten
            for _ in range(2):
                mapping = _mapping(video)
                for _attempt in range(5):
                    if await _packets(mapping, 50, punching=[mapping]):
                        break
                else:
                    pytest.fail("nothing comes to the new port")
                assert host.live(), "what the old port refused has not ended the session"
                mapping.close()

    run(scenario())


def test_a_stream_stays_with_a_client_that_punches_whoever_else_does() -> None:
    async def scenario() -> None:
        async with a_host(frames=FRAMES) as host, dial(host, ["pkf1"]) as client:
            video, first = await _streaming(client)
            thief = _mapping(video)
            assert not await _packets(thief, 1, punching=[first, thief])
            assert await _packets(first, 50, punching=[first, thief])
            thief.close()
            first.close()

    run(scenario())


def test_a_stream_does_not_follow_to_another_address() -> None:
    async def scenario() -> None:
        async with a_host(frames=FRAMES) as host, dial(host, ["pkf1"]) as client:
            video, first = await _streaming(client)
            thief = _mapping(video, "127.0.0.2")
            assert not await _packets(thief, 1, punching=[thief])
            thief.close()
            first.close()

    run(scenario())
