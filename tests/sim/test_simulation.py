"""The simulation from Python: known answers, one seed one result, and faults that must be noticed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from punktfunk.core import simulate
from punktfunk.errors import InvalidConfigError

KEY = "000102030405060708090a0b0c0d0e0f"


def run(**spec: Any) -> tuple[dict[str, Any], Any]:
    result = simulate(json.dumps(spec))
    ledger = json.loads(result.ledger_json)
    assert not any(ledger["balances"].values()), ledger["balances"]
    return ledger, result


def column(result: Any, name: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(result.records()[name], "<i8")


@pytest.mark.parametrize("scheme", ["gf8", "gf16"])
@pytest.mark.parametrize(
    ("period", "intact"), [(None, 50), (32, 50), (16, 50), (8, 50), (6, 50), (4, 0), (3, 0), (2, 0)]
)
def test_the_classic_sweep_gives_the_known_counts(scheme: str, period: int | None, intact: int) -> None:
    ledger, _ = run(
        stream={"scheme": scheme, "fec_percent": 25, "max_block_shards": 64, "shard_bytes": 1024},
        link={"loss": {"kind": "periodic", "every": period} if period else {"kind": "none"}},
        frames=50,
        frame_bytes={"kind": "constant", "bytes": 100_000},
        content="classic",
    )
    assert ledger["frames"] == {"submitted": 50, "intact": intact, "corrupt": 0}


LOSSY = {
    "stream": {"key": KEY},
    "link": {
        "rate_kbps": 40_000,
        "delay_us": 10_000,
        "jitter_us": 3_000,
        "jitter_distribution": "normal",
        "jitter_reorder": True,
        "loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.3},
        "duplicate": 0.01,
        "corrupt": 0.01,
        "corrupt_mode": "payload",
    },
    "frames": 300,
    "frame_bytes": {"kind": "normal", "mean": 40_000, "sd": 10_000, "min": 100, "max": 90_000},
    "key_interval": 60,
    "recovery_rtt_us": 30_000,
    "content": "random",
}


def test_one_seed_gives_one_result_and_another_another() -> None:
    results = [run(**LOSSY, seed=seed)[1] for seed in (1, 1, 2)]
    assert results[0].digest == results[1].digest
    assert results[0].ledger_json == results[1].ledger_json
    assert results[0].records() == results[1].records()
    assert results[0].digest != results[2].digest


def test_the_digest_covers_every_record() -> None:
    plain = run(**LOSSY, seed=1)[1]
    without = run(**LOSSY, seed=1, records=False)[1]
    assert plain.ledger_json == without.ledger_json
    assert without.records() == {}
    assert plain.digest != without.digest


def test_a_harsh_link_delivers_nothing_corrupt_and_loses_nothing_silently() -> None:
    ledger, result = run(**LOSSY, seed=7)
    client = ledger["client"]
    assert ledger["frames"]["corrupt"] == 0
    assert ledger["frames"]["intact"] == client["frames_released"] > 200
    assert client["rejected_auth"] > 0
    assert client["rejected_replay"] > 0
    assert client["packets_reordered"] > 0
    assert ledger["link"]["dropped_loss"] > 0
    # What the link took, and what it damaged, is what the client misses.
    taken = ledger["link"]["dropped_total"] + client["rejected_auth"]
    both_copies = ledger["link"]["duplicated"]
    assert taken - both_copies <= client["packets_lost"] <= taken
    status = Counter(column(result, "status").tolist())
    assert status[0] == client["frames_complete"]


def test_stages_of_a_frame_follow_one_another() -> None:
    _, result = run(**LOSSY, seed=3)
    complete = column(result, "status") == 0
    stages = ["sealed_ns", "sent_first_ns", "recv_first_ns", "recv_last_ns", "complete_ns"]
    stamps = np.array([column(result, name)[complete] for name in stages])
    assert (stamps > 0).all()
    assert (np.diff(stamps, axis=0) >= 0).all()
    # 10 ms of delay with a standard deviation of 3 ms, before which no packet of a frame arrives often.
    transit = column(result, "recv_first_ns")[complete] - column(result, "sent_first_ns")[complete]
    assert 3e6 < np.median(transit) < 11e6


def test_a_lost_frame_brings_a_key_frame_one_round_trip_later() -> None:
    _, result = run(
        stream={"fec_percent": 0},
        link={"loss": {"kind": "periodic", "every": 350, "offset": 200}, "delay_us": 5_000},
        frames=40,
        key_interval=1000,
        recovery_rtt_us=20_000,
    )
    status, keys = column(result, "status"), (column(result, "flags") & 4) != 0
    lost = np.flatnonzero(status != 0)
    assert lost.tolist() == [5, 15, 25, 35]
    # Given up 20 ms after the next frame was complete, asked for 20 ms later: 57 ms, so four frames on.
    assert np.flatnonzero(keys).tolist() == [0, 9, 19, 29, 39]
    undecodable = np.flatnonzero((status == 0) & (column(result, "decodable") == 0))
    assert undecodable.tolist() == [6, 7, 8, 16, 17, 18, 26, 27, 28, 36, 37, 38]


def test_a_link_that_is_dead_at_first_hides_no_frame() -> None:
    """The first packet that comes is 127 frames beyond the loss window of 64: those frames were sent and lost."""
    ledger, result = run(
        link={"loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.01, "bad": 1.0}},
        seed=3,
        frames=200,
        frame_bytes={"kind": "constant", "bytes": 1000},
    )
    client = ledger["client"]
    first = int(np.flatnonzero(column(result, "packets_received") > 0)[0])
    assert first > 64
    assert (column(result, "status")[:first] == 1).all()
    assert client["frames_complete"] + client["frames_unrecoverable"] + client["frames_expired"] == 200
    assert client["packets_lost"] == 400 - client["packets_received"]


def test_an_outage_beyond_the_loss_window_brings_a_key_frame() -> None:
    """Frames 16 to 50 are lost, at two packets a frame, with a window of 8."""
    ledger, result = run(
        stream={"loss_window_frames": 8},
        link={
            "delay_us": 5_000,
            "changes": [
                {"at_ms": 260, "set": {"loss": {"kind": "independent", "p": 1.0}}},
                {"at_ms": 840, "set": {"loss": {"kind": "none"}}},
            ],
        },
        frames=120,
        frame_bytes={"kind": "constant", "bytes": 1000},
        key_interval=10_000,
        recovery_rtt_us=20_000,
    )
    status, keys = column(result, "status"), np.flatnonzero(column(result, "flags") & 4).tolist()
    lost = np.flatnonzero(status != 0)
    assert lost.tolist() == list(range(lost[0], lost[-1] + 1))
    assert lost.size > 30
    # The first packet after the outage, 5 ms on its way, tells of it; the answer takes a round trip of 20 ms.
    assert keys == [0, lost[-1] + 3]
    assert ledger["client"]["frames_undecodable"] == 2
    assert (column(result, "decodable")[keys[1] :] == 1).all()


def test_a_codec_that_is_one_recovery_shard_short_is_noticed() -> None:
    """With 5 shards lost of 5 announced, only an honest codec brings every frame through."""
    spec = {
        "stream": {"fec_percent": 50, "shard_bytes": 1000},
        # 15 packets a frame: one in three lost is exactly the five that FEC recovers.
        "link": {"loss": {"kind": "periodic", "every": 3}},
        "frames": 60,
        "frame_bytes": {"kind": "constant", "bytes": 10_000},
    }
    honest, _ = run(**spec)
    short, _ = run(**spec, sabotage="one_recovery_short")
    assert honest["frames"]["intact"] == 60
    assert short["frames"]["intact"] < 60
    assert short["host"]["packets_sealed"] == honest["host"]["packets_sealed"] - 60


def test_a_bottleneck_below_the_rate_loses_frames_in_its_queue_and_says_so() -> None:
    ledger, _ = run(
        link={"rate_kbps": 10_000, "queue_packets": 50}, frames=120, rate_kbps=20_000, content="test_frame"
    )
    assert ledger["link"]["dropped_queue"] > 0
    assert ledger["link"]["dropped_queue"] == ledger["client"]["packets_lost"]
    assert ledger["client"]["frames_unrecoverable"] > 0


def test_a_slow_pacer_drops_whole_frames_from_the_hosts_queue() -> None:
    ledger, result = run(
        frames=200,
        rate_kbps=1,
        pacing={"burst_packets": 10, "packets_per_ms": 1, "rate_factor": 1.0},
        frame_bytes={"kind": "constant", "bytes": 60_000},
        key_interval=10_000,
        recovery_rtt_us=0,
    )
    host = ledger["host"]
    assert host["frames_queue_dropped"] > 0
    assert host["packets_queue_dropped"] == 60 * host["frames_queue_dropped"]
    assert ledger["client"]["frames_unseen"] == host["frames_queue_dropped"]
    dropped = column(result, "host_status") == 1
    assert (column(result, "packets_sent")[dropped] == 0).all()
    keys = (column(result, "flags") & 4) != 0
    assert keys.sum() > 1, "a drop in the host's own queue must bring a key frame"


def test_a_wrong_specification_names_its_key() -> None:
    for spec, word in [
        ({"frames": -1}, "-1"),
        ({"linc": {}}, "linc"),
        ({"link": {"duplicate": 3}}, "duplicate"),
    ]:
        with pytest.raises(InvalidConfigError, match=word):
            simulate(json.dumps(spec))
