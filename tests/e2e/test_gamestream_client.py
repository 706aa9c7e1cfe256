"""The GameStream client against the project's HTTP server: pair, list, launch, resume, quit, and whom it believes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from punktfunk.client.gamestream import service
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.host import GameHost, LaunchWish, StreamKey
from punktfunk.client.gamestream.known_hosts import PairedHosts
from punktfunk.clock import monotonic_ns
from punktfunk.errors import MediaError, PairingError, StatusError, UntrustedPeerError
from punktfunk.trust.identity import Identity, Role
from punktfunk.units import Mode
from tests.support.gamestream_host import GameStreamHost, among_clients
from tests.support.waiting import soon

WISH = LaunchWish(Mode(1280, 720, 60))


@pytest.fixture(scope="module")
def identity_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an identity, which takes a while to make."""
    folder = tmp_path_factory.mktemp("client")
    Identity.load_or_create(folder, Role.GAMESTREAM_CLIENT)
    return folder


async def paired(host: GameStreamHost, folder: Path, *, typed: str | None = None) -> GameHost:
    """Pair, somebody typing the PIN that the client shows."""
    client = GameHost(("127.0.0.1", host.ports.http), folder)
    shown: list[str] = []
    pairing = asyncio.ensure_future(client.pair("lab", shown.append))
    await soon(lambda: bool(host.pairing.waiting(monotonic_ns())), "a device that waits for its PIN")
    host.pairing.enter_pin(typed or shown[0], None, monotonic_ns())
    await pairing
    return client


@pytest.mark.conformance(12)
@pytest.mark.conformance(16)
def test_a_paired_client_lists_launches_resumes_and_quits(tmp_path: Path, identity_folder: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        client = await paired(host, identity_folder)
        assert [app.title for app in await client.apps()] == ["Desktop", "Tom & Jerry"]
        assert (await client.info_as_paired()).paired
        key = StreamKey.draw()
        place = await client.launch(7, WISH, key)
        assert (place.port, place.encrypted) == (host.ports.rtsp, True)
        request = host.owner.launched[0][1]
        assert (request.rikey, request.rikeyid, request.app_id) == (key.key, key.key_id, 7)
        with pytest.raises(StatusError, match="status 400"):
            await client.launch(7, WISH, key)
        assert (await client.info()).current_app == 7
        await client.resume(7, WISH, StreamKey.draw())
        await client.quit()
        assert not (await client.info()).busy

    among_clients(tmp_path, use)


@pytest.mark.conformance(13)
def test_a_pin_typed_wrong_pairs_nobody(tmp_path: Path, identity_folder: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        with pytest.raises(PairingError, match="another PIN"):
            # No PIN that is drawn has five digits.
            await paired(host, identity_folder, typed="00000")
        assert host.pairing.trust.clients() == ()

    among_clients(tmp_path, use)


def test_a_host_that_was_not_paired_with_is_not_asked_as_one(tmp_path: Path) -> None:
    with pytest.raises(UntrustedPeerError, match="has been paired with"):
        asyncio.run(GameHost(("127.0.0.1", 9), tmp_path).apps())


def test_a_host_with_another_certificate_is_told_nothing(tmp_path: Path, identity_folder: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        client = await paired(host, identity_folder)
        hosts = PairedHosts(identity_folder)
        other = Identity.load_or_create(identity_folder, Role.GAMESTREAM_CLIENT).certificate
        pem = other.public_bytes(Encoding.PEM).decode()
        hosts.remember(hosts.at(client.address).model_copy(update={"certificate": pem}))
        with pytest.raises(UntrustedPeerError, match="another certificate"):
            await GameHost(client.address, identity_folder).launch(1, WISH, StreamKey.draw())
        assert host.owner.launched == []

    among_clients(tmp_path, use)


def test_a_client_whose_worker_comes_to_nothing_launches_nothing(
    tmp_path: Path, identity_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WORKER_MODULE", "punktfunk.client.gamestream.no_such_worker")

    async def use(host: GameStreamHost) -> None:
        await paired(host, identity_folder)
        config = GameStreamConfig(address=f"127.0.0.1:{host.ports.http}", state_dir=identity_folder)
        with pytest.raises(MediaError, match="worker"):
            await service.GameStreamClient(config).__aenter__()
        assert host.owner.launched == []

    among_clients(tmp_path, use)


@pytest.mark.conformance(27)
def test_a_client_that_was_removed_hears_what_to_do(tmp_path: Path, identity_folder: Path) -> None:
    async def use(host: GameStreamHost) -> None:
        client = await paired(host, identity_folder)
        for known in host.pairing.trust.clients():
            host.pairing.trust.remove(known.fingerprint)
        with pytest.raises(StatusError, match="401") as caught:
            await client.apps()
        assert "pair" in caught.value.hint

    among_clients(tmp_path, use)
