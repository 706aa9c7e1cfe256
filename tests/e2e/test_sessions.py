"""Host and client over loopback, with their workers: every frame arrives, pictures decode, frame markers agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import punktfunk
from punktfunk.errors import HandshakeError, RejectedError, UntrustedPeerError
from punktfunk.host.history import SessionHistory
from punktfunk.media import Codec, SyntheticSpec, TestCardSpec
from punktfunk.native.dialect import CloseCode
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import soon

OPEN = OpenTrust.LOOPBACK


def run(test: Coroutine[Any, Any, None], limit: float = 60) -> None:
    asyncio.run(asyncio.wait_for(test, limit))


def host_config(**fields: Any) -> punktfunk.HostConfig:
    return punktfunk.HostConfig(trust=OPEN, port=0, **fields)


def address(host: punktfunk.Host) -> str:
    return f"127.0.0.1:{host.port}"


@pytest.mark.measures
@pytest.mark.parametrize("dialect", ["pkf1", "none"])
def test_300_synthetic_frames_arrive_intact(dialect: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        config = host_config(
            source=SyntheticSpec(frame_bytes=65536),
            mode=Mode(1280, 720, 240),
            frames=300,
            queue_frames=300,
            bitrate=Bitrate(200_000_000),
            artefacts=tmp_path / "host",
        )
        client_config = punktfunk.ClientConfig(trust=OPEN, dialect=dialect, artefacts=tmp_path / "client")
        async with punktfunk.Host(config) as host, punktfunk.Client(address(host), client_config) as client:
            assert client.welcome.frames == 300
            summary = await client.finished()
            [report] = await host.sessions_over(1)
        assert summary.verified is True
        assert summary.reason == "verified"
        assert (summary.counters["test_frames_intact"], summary.counters["frames_complete"]) == (300, 300)
        assert report.stream_reason == "frames"
        assert not report.failed
        assert report.counters["frames_sent"] == 300

    run(scenario())
    sent, received = _load(tmp_path / "host" / "records.npz"), _load(tmp_path / "client" / "records.npz")
    assert sorted(sent["index"]) == sorted(received["index"]) == list(range(300))
    assert set(received["status"]) == {0}
    order_s, order_r = np.argsort(sent["index"]), np.argsort(received["index"])
    assert (sent["pts_ns"][order_s] == received["pts_ns"][order_r]).all()
    assert (received["complete_ns"][order_r] > sent["captured_ns"][order_s]).all()
    assert sent["packets_sent"].sum() == received["packets_received"].sum()


@pytest.mark.measures
@pytest.mark.slow
def test_a_test_card_through_x264_decodes_whole_and_its_strip_is_its_stamp(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = host_config(
            source=TestCardSpec(tag=77),
            mode=Mode(1280, 720, 60),
            codec="h264",
            bitrate=Bitrate(10_000_000),
            seconds=3,
            artefacts=tmp_path / "host",
        )
        client_config = punktfunk.ClientConfig(trust=OPEN, artefacts=tmp_path / "client")
        async with punktfunk.Host(config) as host, punktfunk.Client(address(host), client_config) as client:
            summary = await client.finished()
            [report] = await host.sessions_over(1)
        frames = report.counters["frames_submitted"]
        assert frames + report.counters["source_frames_skipped"] >= 170
        assert summary.counters["pictures"] == summary.counters["strips_read"] == frames
        assert summary.counters["decode_errors"] == 0
        assert summary.verified is None

    run(scenario())
    sent, decoded = _load(tmp_path / "host" / "records.npz"), _load(tmp_path / "client" / "decoded.npz")
    offset = json.loads((tmp_path / "host" / "stats.json").read_text())["clock"]["offset_ns"]
    captured = dict(zip(sent["index"].tolist(), sent["captured_ns"].tolist(), strict=True))
    source_frame = dict(zip(sent["index"].tolist(), sent["source_frame"].tolist(), strict=True))
    rows = zip(
        *(decoded[name].tolist() for name in ("index", "pts_ns", "strip_frame", "strip_time_us")), strict=True
    )
    for index, pts_ns, strip_frame, strip_time_us in rows:
        assert pts_ns - offset == captured[index]
        assert strip_time_us == captured[index] // 1000
        assert strip_frame == source_frame[index]
    assert set(decoded["strip_tag"].tolist()) == {77}


def test_mode_bitrate_and_key_frames_change_in_mid_stream() -> None:
    async def scenario() -> None:
        config = host_config(codec="h264", bitrate=Bitrate(4_000_000))
        client_config = punktfunk.ClientConfig(trust=OPEN, mode=Mode(1280, 720, 60))
        async with punktfunk.Host(config) as host, punktfunk.Client(address(host), client_config) as client:

            def counted(name: str) -> int:
                """Return a counter of the stream; they come once a second."""
                return host.reports[0].counters.get(name, 0) if host.reports else 0

            await soon(lambda: counted("key_frames") >= 1, "the first key frame")
            answer = await client.request_mode(Mode(960, 540, 30))
            assert (answer.accepted, str(answer.mode)) == (True, "960x540@30")
            await soon(lambda: counted("key_frames") >= 2, "the key frame of the new mode")
            client.request_bitrate(Bitrate(2_000_000))
            await soon(lambda: counted("rate_kbps") == 2000, "the new bitrate")
            before = counted("key_frames")
            client.request_keyframe()
            client.request_keyframe()
            await soon(lambda: counted("keyframe_requests") >= 1, "the request for a key frame")
            await soon(lambda: counted("key_frames") > before, "the key frame that was asked for")
            client.stop()
            summary = await client.finished()
            [report] = await host.sessions_over(1)
        assert summary.counters["decode_errors"] == 0
        assert summary.counters["strips_unreadable"] == 0
        assert report.counters["rate_kbps"] == 2000
        # The first frame, the first of the new mode, the one that was asked for (twice); x264 cannot be
        # turned down in place below a share of its opening rate, so the bitrate may have cost one more, and a
        # busy machine what its client had to ask for by itself.
        requests = report.counters["keyframe_requests"]
        assert requests >= 1
        assert 3 <= report.counters["key_frames"] <= 3 + requests
        assert str(report.mode) == "960x540@30"

    run(scenario())


def test_two_hosts_side_by_side_serve_two_clients_each() -> None:
    async def scenario() -> None:
        config = host_config(source=SyntheticSpec(frame_bytes=5000), mode=Mode(1280, 720, 120), frames=60)
        client_config = punktfunk.ClientConfig(trust=OPEN)

        async def watch(host: punktfunk.Host) -> punktfunk.client.summary.Summary:
            async with punktfunk.Client(address(host), client_config) as client:
                return await client.finished()

        async with punktfunk.Host(config) as one, punktfunk.Host(config) as two:
            assert one.port != two.port
            summaries = await asyncio.gather(watch(one), watch(one), watch(two), watch(two))
            assert [summary.verified for summary in summaries] == [True] * 4
            assert len(await one.sessions_over(2)) == len(await two.sessions_over(2)) == 2

    run(scenario())


def test_a_host_forgets_reports_of_old_sessions_and_neither_their_numbers_nor_their_counts() -> None:
    async def scenario() -> None:
        async with punktfunk.Host(host_config(source=SyntheticSpec(frame_bytes=2000), frames=5)) as host:
            host.sessions.history = SessionHistory(max_ended=1)
            for number in (1, 2, 3):
                async with punktfunk.Client(address(host), punktfunk.ClientConfig(trust=OPEN)) as client:
                    assert (await client.finished()).verified is True
                [report] = await host.sessions_over(number)
                assert report.number == number
            assert [report.number for report in host.reports] == [3]
            assert (
                host.sessions.history.begun,
                host.sessions.history.over,
                host.sessions.history.failed,
            ) == (3, 3, 0)
            assert host.sessions.history.ledger["frames_sent"] == 15

    run(scenario())


def test_a_host_refuses_more_sessions_than_it_may_have() -> None:
    async def scenario() -> None:
        config = host_config(source=SyntheticSpec(frame_bytes=1000), max_sessions=1)
        client_config = punktfunk.ClientConfig(trust=OPEN)
        async with punktfunk.Host(config) as host, punktfunk.Client(address(host), client_config):
            with pytest.raises(RejectedError, match="as many sessions") as refused:
                async with punktfunk.Client(address(host), client_config):
                    pass
            assert refused.value.close_code == CloseCode.BUSY

    run(scenario())


@pytest.mark.parametrize(("dialect", "code"), [("pkf1", CloseCode.DENIED), ("none", CloseCode.DONE)])
def test_only_a_trusted_certificate_gets_a_stream(dialect: str, code: CloseCode, tmp_path: Path) -> None:
    known = Identity.load_or_create(tmp_path / "known", Role.CLIENT).fingerprint

    async def scenario() -> None:
        config = punktfunk.HostConfig(
            port=0,
            trusted_clients=[known],
            source=SyntheticSpec(frame_bytes=1000),
            frames=10,
            state_dir=tmp_path,
        )
        async with punktfunk.Host(config) as host:
            pinned = {"pin": host.fingerprint, "dialect": dialect}
            with pytest.raises(RejectedError) as refused:
                async with punktfunk.Client(address(host), punktfunk.ClientConfig(**pinned)):
                    pass
            assert refused.value.close_code == code
            trusted = punktfunk.ClientConfig(**pinned, state_dir=tmp_path / "known")
            async with punktfunk.Client(address(host), trusted) as client:
                assert (await client.finished()).verified is True

    run(scenario())


def test_a_client_with_a_wrong_pin_gets_no_further_than_tls() -> None:
    async def scenario() -> None:
        async with punktfunk.Host(host_config(source=SyntheticSpec())) as host:
            with pytest.raises(UntrustedPeerError, match="pinned certificate"):
                async with punktfunk.Client(address(host), punktfunk.ClientConfig(pin="ab" * 32)):
                    pass
            assert host.reports == []

    run(scenario())


def test_a_codec_that_the_client_does_not_decode_is_refused() -> None:
    async def scenario() -> None:
        async with punktfunk.Host(host_config(codec="hevc")) as host:
            with pytest.raises(RejectedError) as refused:
                async with punktfunk.Client(
                    address(host), punktfunk.ClientConfig(trust=OPEN, codecs=[Codec.H264])
                ):
                    pass
            assert refused.value.close_code == CloseCode.SETUP_FAILED

    run(scenario())


def test_open_trust_is_refused_off_loopback_on_both_ends() -> None:
    async def scenario() -> None:
        with pytest.raises(UntrustedPeerError):
            async with punktfunk.Host(punktfunk.HostConfig(trust=OPEN, bind="0.0.0.0", port=0)):
                pass
        with pytest.raises(UntrustedPeerError):
            async with punktfunk.Client("192.0.2.1", punktfunk.ClientConfig(trust=OPEN)):
                pass

    run(scenario())


def test_a_host_that_is_not_there_is_a_handshake_error_at_once() -> None:
    async def scenario() -> None:
        async with punktfunk.Host(host_config(source=SyntheticSpec())) as host:
            port = host.port
        with pytest.raises(HandshakeError, match="nothing listens"):
            async with punktfunk.Client(f"127.0.0.1:{port}", punktfunk.ClientConfig(trust=OPEN)):
                pass

    run(scenario())


def _load(path: Path) -> dict[str, Any]:
    with np.load(path) as columns:
        return {name: columns[name] for name in columns.files}
