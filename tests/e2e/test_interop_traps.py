"""The interop checklist of punktfunk/1 (section 12) against a live host, one test or more for each of its 15 points.

The peer shares nothing with our client (``tests/support/foreign_client.py``); here it rebuilds shards with
``reed_solomon_leopard`` and pairs with ``spake2``.
"""

from __future__ import annotations

import asyncio
import hmac
import struct
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import reed_solomon_leopard as leopard
import spake2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

import punktfunk
from punktfunk.clock import monotonic_ns
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.pending import PendingClients
from punktfunk.media import SyntheticSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.store import TrustStore
from tests.support.foreign_client import (
    HELLO,
    HOST_IDENTITY,
    NO_ALPN_OVERLAP,
    WAIT_S,
    Video,
    a_host,
    all_frames,
    content,
    der_sha256,
    dial,
    run,
    self_signed,
    stream,
    welcomed,
)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [(None, None), (["pkf1"], "pkf1"), (["h3", "pkf1"], "pkf1")],
    ids=["none", "pkf1", "one of two"],
)
def test_trap_1_alpn_is_selected_where_offered_and_absent_where_not(
    offered: list[str] | None, selected: str | None
) -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host, offered) as client:
            assert client.established
            assert client.alpn == selected
            assert len((await welcomed(client)).key) == 16

    run(scenario())


def test_trap_1_another_alpn_is_fatal_in_the_handshake() -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host, ["pkf2"]) as client:
            assert not client.established
            assert (await client.refused())[0] == NO_ALPN_OVERLAP

    run(scenario())


@pytest.mark.parametrize(
    "make_key",
    [
        lambda: None,
        lambda: ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["no certificate", "P-256", "Ed25519", "RSA-2048"],
)
def test_trap_2_a_certificate_is_asked_for_hashed_as_der_and_may_be_missing(make_key: Any) -> None:
    async def scenario() -> None:
        key = make_key()
        certificate = None if key is None else self_signed(key)
        async with a_host() as host, dial(host, certificate=certificate) as client:
            assert client.quic.tls._certificate_request is not None
            await stream(client)
            [report] = host.reports
            expected = None if certificate is None else der_sha256(certificate[0]).hex()
            assert report.peer.fingerprint == expected

    run(scenario())


@pytest.mark.parametrize(("alpn", "code"), [(None, 0), (["pkf1"], 0x63)], ids=["first release", "pkf1"])
def test_trap_2_a_host_for_paired_clients_refuses_a_client_without_certificate_after_its_hello(
    alpn: list[str] | None, code: int
) -> None:
    async def scenario() -> None:
        async with (
            a_host(trust=OpenTrust.NONE, trusted_clients=["11" * 32]) as host,
            dial(host, alpn) as client,
        ):
            assert client.established
            client.send(HELLO)
            refused, reason = await client.refused()
            assert refused == code
            assert bool(reason) == bool(code), "the first release knows no reasons"
            assert client.inbox == b""

    run(scenario())


def test_trap_3_length_prefixes_are_little_endian_and_messages_may_come_byte_by_byte() -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host) as client:
            for byte in b"\x15\x00" + HELLO:
                client.send_raw(bytes([byte]))
                await asyncio.sleep(0)
            await client.until(lambda: len(client.inbox) >= 56)
            assert client.inbox[:6] == b"\x36\x00PKF1"
            assert len(client.inbox) == 56
            assert struct.unpack_from("<III", client.inbox, 2 + 10) == (1280, 720, 60)

    run(scenario())


@pytest.mark.parametrize("length", [20, 21, 22, 26, 29, 57])
def test_trap_3_a_hello_may_end_wherever_a_release_ended_it(length: int) -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host) as client:
            await welcomed(client, (HELLO + bytes(40))[:length])
            assert client.closed is None

    run(scenario())


@pytest.mark.parametrize("version", [2, 3])
def test_trap_4_wire_versions_2_and_3_are_served_and_echoed(version: int) -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host, ["pkf1"]) as client:
            client.send(HELLO[:4] + struct.pack("<I", version) + HELLO[8:])
            welcome = await client.message()
            assert welcome[:8] == b"PKF1" + struct.pack("<I", version)

    run(scenario())


@pytest.mark.parametrize("version", [0, 1, 4, 2 << 24])
@pytest.mark.parametrize(("alpn", "code"), [(None, 0), (["pkf1"], 0x67)], ids=["first release", "pkf1"])
def test_trap_4_any_other_wire_version_is_refused(alpn: list[str] | None, code: int, version: int) -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host, alpn) as client:
            client.send(HELLO[:4] + struct.pack("<I", version) + HELLO[8:])
            assert (await client.refused())[0] == code
            assert host.reports == []

    run(scenario())


def test_traps_5_and_6_sequence_nonce_and_aad_are_big_endian_and_the_salt_names_the_direction() -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host) as client:
            video = await stream(client)
            # 12 frames of 2 data shards and 1 recovery shard.
            assert [struct.unpack(">Q", packet[:8])[0] for packet in video.wire] == list(range(36))
            assert [struct.unpack_from("<I", plain, 12)[0] for plain in video.plain()] == list(range(36))
            first = video.wire[1]
            with pytest.raises(InvalidTag):
                video.open(first, direction=1)
            with pytest.raises(InvalidTag):
                video.open(first[:8][::-1] + first[8:])

    run(scenario())


def test_trap_7_every_packet_has_version_1_the_magic_at_36_and_a_whole_shard() -> None:
    async def scenario() -> None:
        async with a_host(frame_bytes=2000) as host, dial(host) as client:
            video = await stream(client)
            for plain in video.plain():
                assert len(plain) == 40 + 1200
                assert struct.unpack_from("<H", plain, 34) == (1200,)
                assert plain[36:39] == b"\xc9\x01\x01"
                _, k, _, shard = struct.unpack_from("<HHHH", plain, 26)
                if shard == k - 1:
                    assert plain[40 + 800 :] == bytes(400), "the last data shard is padded with zeros"
            assert {plain[39] for plain in video.plain()} == {1 | 4, 1, 1 | 2}

    run(scenario())


def test_trap_8_shards_are_counted_for_each_block_and_recovery_by_its_ceiling() -> None:
    async def scenario() -> None:
        async with a_host(frame_bytes=20_000, max_block_shards=8) as host, dial(host) as client:
            video = await stream(client)
            blocks: dict[tuple[int, int], dict[int, bytes]] = defaultdict(dict)
            for plain in video.plain():
                frame, _, size, _, block, count, k, m, shard = struct.unpack_from("<IIIIHHHHH", plain, 8)
                assert (size, count) == (20_000, 3)
                assert (k, m) == ((8, 2), (8, 2), (1, 1))[block]
                blocks[frame, block][shard] = plain[40:]
            assert len(blocks) == 12 * 3
            for (frame, block), shards in blocks.items():
                k, m = ((8, 2), (8, 2), (1, 1))[block]
                assert sorted(shards) == list(range(k + m))
                # The recovery shard's own index is shard_index - k: all but the last m shards rebuild the block.
                rebuilt = leopard.decode(
                    k,
                    m,
                    {at: shards[at] for at in range(m, k)},
                    {at - k: shards[at] for at in range(k, k + m)},
                )
                assert rebuilt == {at: shards[at] for at in range(min(m, k))}, (frame, block)
            assert video.access_units() == {index: content(index, 20_000) for index in range(12)}

    run(scenario())


def test_trap_9_recovery_is_the_16_bit_code_also_for_small_blocks_and_plain_xor_for_one() -> None:
    async def scenario() -> None:
        async with a_host(frame_bytes=11_000) as host, dial(host) as client:
            # 10 data and 2 recovery shards: where Leopard's own interface would take its 8-bit code.
            for plain_shards in _blocks_of(await stream(client)):
                assert leopard.encode(plain_shards[:10], 2) == plain_shards[10:]
        async with a_host(frame_bytes=5_500) as host, dial(host) as client:
            for plain_shards in _blocks_of(await stream(client)):
                xor = bytes(1200)
                for shard in plain_shards[:5]:
                    xor = bytes(a ^ b for a, b in zip(xor, shard, strict=True))
                assert plain_shards[5:] == [xor]

    run(scenario())


def _blocks_of(video: Video) -> list[list[bytes]]:
    blocks: dict[int, dict[int, bytes]] = defaultdict(dict)
    for plain in video.plain():
        blocks[struct.unpack_from("<I", plain, 8)[0]][struct.unpack_from("<H", plain, 32)[0]] = plain[40:]
    return [[shards[at] for at in sorted(shards)] for shards in blocks.values()]


def test_trap_10_a_port_that_is_bound_only_after_start_loses_no_frame() -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host) as client:
            video = await welcomed(client)
            # The host's worker shall be ready, and wait for the client and not for itself.
            await asyncio.sleep(0.5)
            client.send(video.start())
            await asyncio.sleep(0.1)
            video.bind()
            await video.receive(all_frames)
            assert video.access_units() == {index: content(index, 2000) for index in range(12)}

    run(scenario())


def test_trap_10_a_port_that_refuses_the_first_frames_ends_nothing() -> None:
    async def scenario() -> None:
        async with a_host(frames=150) as host, dial(host) as client:
            video = await welcomed(client)
            client.send(video.start())
            async with asyncio.timeout(WAIT_S):
                while not host.reports or host.reports[0].counters.get("frames_sent", 0) < 10:
                    await asyncio.sleep(0.02)
            video.bind()
            await video.receive(all_frames)
            assert min(video.access_units()) >= 10, "those were sent while nobody listened"
            [report] = await host.sessions_over(1)
            assert (report.failed, report.counters["frames_sent"]) == (False, 150)
            assert report.counters["socket_refused"] > 0

    run(scenario())


def test_trap_10_a_port_that_refuses_for_seconds_ends_nothing_while_its_client_acknowledges() -> None:
    """Nothing comes from this client on its own: it does not even ping. Its QUIC stack answers, and that is enough."""

    async def scenario() -> None:
        async with a_host(frames=240) as host, dial(host) as client:
            video = await welcomed(client)
            client.send(video.start())
            async with asyncio.timeout(WAIT_S):
                while not host.reports or host.reports[0].counters.get("frames_sent", 0) < 120:
                    await asyncio.sleep(0.02)
            assert host.reports[0].counters["socket_refused"] > 5
            video.bind()
            await video.receive(all_frames)
            [report] = await host.sessions_over(1)
            assert (report.reason, report.counters["frames_sent"]) == ("stream ended: frames", 240)

    run(scenario())


@pytest.mark.parametrize("alpn", [None, ["pkf1"]], ids=["first release", "pkf1"])
def test_trap_10_a_punch_begins_the_stream_toward_where_it_came_from(
    alpn: list[str] | None,
) -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host, alpn) as client:
            video = await welcomed(client)
            client.send(video.start())
            # Behind another port than it announced, so that nothing comes of a stream that goes there.
            video.bind(punch=True)
            await video.receive(lambda seen: len(seen.wire) > 0)

    run(scenario())


@pytest.mark.measures
def test_trap_11_eight_clock_probes_are_answered_at_once_with_nothing_in_between() -> None:
    async def scenario() -> None:
        async with a_host() as host, dial(host) as client:
            video = await welcomed(client)
            client.send(video.start())
            for number in range(8):
                t1 = time.time_ns()
                client.send(b"PKFc\x30" + struct.pack("<Q", t1))
                if number == 3:
                    # Asked for in the middle of the rounds; the answer has to wait for their end.
                    client.send(b"PKFc\x01" + struct.pack("<III", 640, 360, 60))
                echo = await client.message()
                t4 = time.time_ns()
                assert len(echo) == 29
                assert echo[:5] == b"PKFc\x31"
                echoed, t2, t3 = struct.unpack_from("<QQQ", echo, 5)
                assert echoed == t1
                # One machine, one clock; the host's is steered by CLOCK_MONOTONIC from its start on.
                assert t1 - 5_000_000 < t2 <= t3 < t4 + 5_000_000
                assert t4 - t1 < 1_000_000_000
            video.bind()
            answer = await client.message()
            assert (len(answer), answer[:5]) == (18, b"PKFc\x02")
            await video.receive(all_frames)

    run(scenario())


@pytest.mark.measures
def test_trap_12_the_host_keeps_a_silent_client_alive_that_would_give_up_after_six_seconds() -> None:
    async def scenario() -> None:
        async with (
            a_host(frames=None) as host,
            dial(host, idle_s=6.0) as first_release,
            dial(host, ["pkf1"], idle_s=6.0) as later,
        ):
            for client in (first_release, later):
                video = await welcomed(client)
                client.send(video.start())
            await asyncio.sleep(7.5)
            assert (first_release.closed, later.closed) == (None, None)
            assert len(host.live()) == 2

    run(scenario())


@pytest.mark.measures
def test_trap_13_a_client_that_never_closes_holds_nothing_up_after_its_last_frame() -> None:
    async def scenario() -> None:
        async with a_host(max_sessions=1) as host:
            async with dial(host) as client:
                await stream(client)
                client.vanish()
            began = time.monotonic()
            [report] = await host.sessions_over(1)
            assert time.monotonic() - began < 5.0
            assert (report.failed, report.stream_reason) == (False, "frames")
            async with dial(host) as following:
                await stream(following)

    run(scenario())


@pytest.mark.measures
def test_trap_13_a_client_that_vanishes_in_mid_stream_is_given_up_after_its_idle_time() -> None:
    async def scenario() -> None:
        async with a_host(frames=None, max_sessions=1) as host:
            # More than the 4 s between the host's PINGs: a slow machine may take its time to the first frame.
            async with dial(host, idle_s=5.0) as client:
                await stream(client, lambda seen: len(seen.wire) > 10)
                client.vanish()
            async with asyncio.timeout(20):
                [report] = await host.sessions_over(1)
            assert not report.failed

    run(scenario())


@pytest.mark.parametrize("right", [True, False], ids=["right PIN", "wrong PIN"])
def test_trap_14_pairing_binds_raw_hashes_in_the_order_client_host_and_the_pin_as_text(
    right: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        pairing = NativePairing(
            PendingClients(TrustStore(tmp_path / "trust.json")), bytes.fromhex(HOST_IDENTITY.fingerprint)
        )
        certificate = self_signed(ec.generate_private_key(ec.SECP256R1()))
        config = punktfunk.HostConfig(port=0, source=SyntheticSpec(frame_bytes=2000), frames=12)
        async with (
            punktfunk.Host(config, identity=HOST_IDENTITY, pairing=pairing) as host,
            dial(host, certificate=certificate) as client,
        ):
            pin = pairing.arm(monotonic_ns()).pin
            host_certificate = client.quic.tls._peer_certificate
            assert host_certificate is not None
            ids = der_sha256(certificate[0]), der_sha256(host_certificate)
            typed = pin if right else pin[:-1] + str((int(pin[-1]) + 1) % 10)
            exchange = spake2.SPAKE2_A(typed.encode("ascii"), idA=ids[0], idB=ids[1])
            message = exchange.start()
            assert (len(message), message[0]) == (33, 0x41)
            client.send(b"PKFc\x10\x04sofa" + struct.pack("<H", 33) + message)
            challenge = await client.message()
            assert challenge[:7] == b"PKFc\x11" + struct.pack("<H", 33)
            assert (len(challenge), challenge[7]) == (7 + 33 + 32, 0x42)
            key = exchange.finish(challenge[7:40])
            mac = hmac.digest(key, b"punktfunk-pair-host" + ids[0] + ids[1], "sha256")
            assert (mac == challenge[40:]) is right
            client.send(b"PKFc\x12" + hmac.digest(key, b"punktfunk-pair-client" + ids[0] + ids[1], "sha256"))
            assert await client.message() == b"PKFc\x13" + bytes([right])
            stored = [known.fingerprint for known in pairing.trust.clients()]
            assert stored == ([ids[0].hex()] if right else [])

    run(scenario())


def test_trap_15_no_synthetic_frame_is_shorter_than_its_index() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 4"):
        SyntheticSpec(frame_bytes=3)


@pytest.mark.parametrize("frame_bytes", [4, 65536])
def test_trap_15_every_frame_of_a_verification_arrives_and_the_host_says_done(frame_bytes: int) -> None:
    async def scenario() -> None:
        async with a_host(frame_bytes=frame_bytes) as host, dial(host) as client:
            video = await stream(client)
            assert video.access_units() == {index: content(index, frame_bytes) for index in range(12)}
            assert await client.refused() == (0, "done")
            assert client.inbox == b"", "no control message was asked for"

    run(scenario())
