"""P2, P9 and P18 over whole links: nothing wrong arrives, everything is accounted for, one seed is one result."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st

from punktfunk.core import simulate

probabilities = st.one_of(st.just(0.0), st.floats(0, 0.3))

losses = st.one_of(
    st.just({"kind": "none"}),
    st.builds(lambda p: {"kind": "independent", "p": p}, st.floats(0, 1)),
    st.builds(
        lambda p, r, bad: {"kind": "gilbert_elliott", "p": p, "r": r, "bad": bad},
        st.floats(0.001, 0.5),
        st.floats(0.01, 1),
        st.floats(0, 1),
    ),
    st.builds(lambda every: {"kind": "periodic", "every": every}, st.integers(1, 60)),
)

links = st.fixed_dictionaries(
    {
        "loss": losses,
        "duplicate": probabilities,
        "corrupt": probabilities,
        "corrupt_mode": st.sampled_from(["checksum", "payload"]),
        "delay_us": st.floats(0, 50_000),
        "jitter_us": st.floats(0, 30_000),
        "jitter_distribution": st.sampled_from(["uniform", "normal", "pareto"]),
        "jitter_reorder": st.booleans(),
    },
    optional={
        "rate_kbps": st.integers(500, 100_000),
        "queue_packets": st.integers(1, 500),
        "reorder": st.fixed_dictionaries({"p": st.floats(0, 0.5), "extra_us": st.floats(0, 200_000)}),
    },
)

streams = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from(["gf8", "gf16"]),
        "fec_percent": st.integers(0, 60),
        "max_block_shards": st.integers(2, 150),
        "shard_bytes": st.integers(1, 700).map(lambda n: 2 * n),
        # A stream without a key has no defence against a flipped bit, so payload corruption needs one.
        "key": st.just("11" * 16),
        "hold_undecodable": st.booleans(),
        "reorder_window_ns": st.integers(0, 100_000_000),
        "loss_window_frames": st.integers(1, 100),
        "memory_cap_bytes": st.integers(0, 2_000_000),
        "max_frame_bytes": st.just(20_000),
    }
)

specs = st.fixed_dictionaries(
    {
        "stream": streams,
        "link": links,
        "seed": st.integers(0, 2**64 - 1),
        "frames": st.integers(1, 40),
        "fps": st.floats(5, 1000),
        "frame_bytes": st.builds(
            lambda sizes: {"kind": "list", "bytes": sizes},
            st.lists(st.integers(0, 20_000), min_size=1, max_size=8),
        ),
        "key_interval": st.integers(0, 20),
        "recovery_rtt_us": st.one_of(st.none(), st.floats(0, 100_000)),
        "content": st.sampled_from(["classic", "test_frame", "random"]),
        "order": st.sampled_from(["blocks", "data_first"]),
        "queue_frames": st.integers(1, 8),
    }
)


# One packet or two a frame and long bursts of total loss: the link is often dead for longer than the loss window, from
# the first packet on too.
outages = st.fixed_dictionaries(
    {
        "stream": st.fixed_dictionaries({"loss_window_frames": st.integers(1, 100)}),
        "link": st.fixed_dictionaries(
            {
                "loss": st.builds(
                    lambda p, r: {"kind": "gilbert_elliott", "p": p, "r": r, "bad": 1.0},
                    st.floats(0.001, 0.1),
                    st.floats(0.005, 0.1),
                )
            }
        ),
        "seed": st.integers(0, 2**64 - 1),
        "frames": st.integers(50, 300),
        "frame_bytes": st.builds(lambda size: {"kind": "constant", "bytes": size}, st.integers(0, 1200)),
        "key_interval": st.integers(0, 20),
        "recovery_rtt_us": st.one_of(st.none(), st.floats(0, 100_000)),
    }
)


def assert_every_frame_has_one_fate(ledger: dict[str, Any], records: dict[str, bytes], frames: int) -> None:
    """Hold counters and records against what was sent: complete, lost or expired, each frame once."""
    client = ledger["client"]
    fates = Counter(np.frombuffer(records["status"], "<i8").tolist())
    assert fates == Counter(
        {
            0: client["frames_complete"],
            1: client["frames_unrecoverable"],
            2: client["frames_expired"],
        }
    )
    assert fates.total() == frames == ledger["frames"]["submitted"]


@settings(deadline=None, max_examples=150)
@given(outages)
def test_no_outage_hides_a_frame(spec: dict[str, Any]) -> None:
    result = simulate(json.dumps(spec))
    note(result.ledger_json)
    ledger = json.loads(result.ledger_json)
    assert not any(ledger["balances"].values()), ledger["balances"]
    assert_every_frame_has_one_fate(ledger, result.records(), spec["frames"])
    host, client = ledger["host"], ledger["client"]
    assert client["packets_lost"] == host["packets_sent"] - client["packets_received"]


@settings(deadline=None, max_examples=150)
@given(specs)
def test_whatever_the_link_does_what_arrives_was_sent_and_the_rest_is_counted(spec: dict[str, Any]) -> None:
    result = simulate(json.dumps(spec))
    note(result.ledger_json)
    ledger = json.loads(result.ledger_json)
    assert ledger["frames"]["corrupt"] == 0
    assert ledger["frames"]["intact"] == ledger["client"]["frames_released"]
    assert not any(ledger["balances"].values()), ledger["balances"]
    assert_every_frame_has_one_fate(ledger, result.records(), spec["frames"])
    assert simulate(json.dumps(spec)).digest == result.digest


@settings(deadline=None, max_examples=60)
@given(streams, st.integers(1, 30), st.lists(st.integers(0, 20_000), min_size=1, max_size=8))
def test_a_perfect_link_loses_nothing(stream: dict[str, Any], frames: int, sizes: list[int]) -> None:
    stream |= {"memory_cap_bytes": 1 << 28}
    spec = {"stream": stream, "frames": frames, "frame_bytes": {"kind": "list", "bytes": sizes}}
    ledger = json.loads(simulate(json.dumps(spec)).ledger_json)
    assert ledger["frames"] == {"submitted": frames, "intact": frames, "corrupt": 0}
    assert ledger["client"]["packets_lost"] == 0
    assert ledger["client"]["packets_reordered"] == 0
