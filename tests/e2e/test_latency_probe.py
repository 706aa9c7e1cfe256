"""The latency probe against a real host: stages add up, pixels and stamps agree, another clock is translated."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import punktfunk
from harness.analysis import latency, stages, stats
from harness.analysis.records import NULL
from punktfunk.errors import HarnessError
from punktfunk.media import TestCardSpec
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.units import Bitrate, Mode

MODE = Mode(640, 360, 30)
OTHER_BOOT_NS = 7 * 24 * 3600 * 10**9
"""Monotonic clocks of two machines differ by their uptimes."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A few seconds of test card between a host and a client on loopback; the folders that they left."""
    folder = tmp_path_factory.mktemp("probe")

    async def session() -> None:
        config = punktfunk.HostConfig(
            trust=OpenTrust.LOOPBACK,
            port=0,
            source=TestCardSpec(),
            mode=MODE,
            bitrate=Bitrate(4_000_000),
            frames=120,
            artefacts=folder / "host",
        )
        client = punktfunk.ClientConfig(trust=OpenTrust.LOOPBACK, mode=MODE, artefacts=folder / "client")
        async with punktfunk.Host(config) as host:
            await latency.probe(f"127.0.0.1:{host.port}", client)

    asyncio.run(asyncio.wait_for(session(), 90))
    return folder / "client", folder / "host"


def printed(found: latency.Probe) -> str:
    text = io.StringIO()
    latency.show(Console(file=text, width=120), found)
    return text.getvalue()


@pytest.mark.measures
def test_on_one_machine_the_figure_is_exact_and_pixels_agree_with_stamps(watched: tuple[Path, Path]) -> None:
    found = latency.read(watched[0])
    assert found.same_clock
    assert found.clock_error_ns == 0
    pixels = stages.marker_latency_ms(found.table)
    stamps = stages.durations_ms(found.table, stages.BY_NAME["capture_to_decoded"])
    assert pixels.size >= 80
    assert np.all(pixels > 0)
    # The card is drawn just before its frame is stamped as captured.
    assert np.median(pixels) == pytest.approx(np.median(stamps), abs=5.0)
    said = printed(found)
    assert "host and network" in said
    assert "both ends share one clock: exact" in said
    assert f"p50 {stats.percentile(pixels, 0.5):.2f} ms" in said


def test_with_the_hosts_records_its_own_stages_show_and_all_add_up(watched: tuple[Path, Path]) -> None:
    found = latency.read(*watched)
    split = stages.split(found.table)
    assert {"encode", "seal", "network", "decode"} <= set(split)
    total = sum(split.values())
    whole = stages.durations_ms(found.table, stages.BY_NAME["capture_to_decoded"])
    assert np.allclose(
        np.sort(total), np.sort(whole)[-total.size :] if total.size < whole.size else np.sort(whole)
    )


def test_another_machines_clock_is_translated_and_its_error_is_printed(
    watched: tuple[Path, Path], tmp_path: Path
) -> None:
    here = latency.read(watched[0])
    columns = dict(np.load(watched[0] / "decoded.npz"))
    read = columns["strip_time_us"] != NULL
    columns["strip_time_us"] = np.where(read, columns["strip_time_us"] + OTHER_BOOT_NS // 1000, NULL)
    np.savez(tmp_path / "decoded.npz", **columns)
    (tmp_path / "records.npz").write_bytes((watched[0] / "records.npz").read_bytes())
    said = json.loads((watched[0] / "stats.json").read_text(encoding="utf-8"))
    said["host_clock"] = {"offset_ns": 0, "error_ns": 250_000, "rtt_ns": 400_000, "rounds": 8}
    (tmp_path / "stats.json").write_text(json.dumps(said), encoding="utf-8")
    there = latency.read(tmp_path)
    assert not there.same_clock
    assert there.clock_error_ns == 250_000
    assert np.median(stages.marker_latency_ms(there.table)) == pytest.approx(
        np.median(stages.marker_latency_ms(here.table)), abs=5.0
    )
    assert "within ± 0.250 ms" in printed(there)


def test_a_session_without_frames_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "records.npz", index=np.array([0]), complete_ns=np.array([NULL]))
    with pytest.raises(HarnessError, match="no frame came"):
        latency.read(tmp_path, reason="the host left")
