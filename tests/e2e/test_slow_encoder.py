"""A stream whose encoder is too slow for its mode: fewer frames, each with its share of the bit rate, and a word."""

from __future__ import annotations

import asyncio

import punktfunk
from punktfunk.media import TestCardSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode
from tests.support.waiting import soon

_WANTED_HZ = 480


def test_a_slow_encoder_is_asked_for_what_it_reaches_and_the_session_says_so() -> None:
    async def scenario() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source=TestCardSpec(),
            codec="hevc",
            encoder="x264",
            encoder_threads=1,
            # So large that no machine codes it at that rate in one thread, however fast it is.
            mode=Mode(1280, 720, _WANTED_HZ),
            bitrate=Bitrate(8_000_000),
        )
        client_config = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK)
        async with punktfunk.Host(config) as host:
            async with punktfunk.Client(f"127.0.0.1:{host.port}", client_config):
                [report] = await soon(host.sessions.live, "the stream begins")
                words = await soon(lambda: report.notices.get("frame rate"), "the frame rate is lowered")
                hz = int(words.split()[0])
                assert hz < _WANTED_HZ
                assert f"of {_WANTED_HZ}: x265" in words
                skipped = report.counters["source_frames_skipped"]
                assert skipped > hz, "it was too slow before"
                seen = report.rates
                await soon(lambda: report.rates is not seen, "another second is reported")
            assert not report.failed

    asyncio.run(asyncio.wait_for(scenario(), 60))
