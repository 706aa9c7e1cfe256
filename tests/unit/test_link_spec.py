"""The link model from Python: its face, its errors, and the exactness that the harness relies on."""

from __future__ import annotations

import json

import pytest

from punktfunk.core._core import LinkModel
from punktfunk.errors import InvalidConfigError


def test_periodic_loss_drops_every_nth_packet() -> None:
    model = LinkModel('{"loss": {"kind": "periodic", "every": 5, "offset": 2}}', 1)
    lost = [i for i in range(25) if model.offer(i, 100)[0] == "lost"]
    assert lost == [2, 7, 12, 17, 22]
    assert model.counters()["dropped_loss"] == 5


def test_a_bottleneck_spaces_packets_by_their_wire_time() -> None:
    model = LinkModel('{"rate_kbps": 8000, "queue_packets": 2, "delay_us": 100}', 1)
    got = [model.offer(0, 972) for _ in range(4)]
    assert got == [
        ("delivered", [(1_100_000, False)]),
        ("delivered", [(2_100_000, False)]),
        ("delivered", [(3_100_000, False)]),
        ("queue_dropped", []),
    ]


def test_counters_know_what_is_in_flight_at_a_time() -> None:
    model = LinkModel('{"delay_us": 1000}', 1)
    for i in range(10):
        model.offer(i * 100_000, 50)
    assert model.counters(1_400_000)["delivered"] == 5
    assert model.counters(1_400_000)["in_flight"] == 5
    assert model.counters()["in_flight"] == 0


def test_directions_of_one_seed_lose_different_packets() -> None:
    spec = json.dumps({"loss": {"kind": "independent", "p": 0.5}})
    one, two = LinkModel(spec, 9, 0), LinkModel(spec, 9, 1)
    assert [one.offer(0, 1)[0] for _ in range(64)] != [two.offer(0, 1)[0] for _ in range(64)]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("[", "EOF"),
        ('{"delay": 1}', "unknown field `delay`"),
        ('{"corrupt": 1.01}', "corrupt is 1.01, must be between 0 and 1"),
        ('{"rate_kbps": 0}', "rate_kbps is 0, must be 1 to"),
        ('{"loss": {"kind": "independent"}}', "missing field `p`"),
        ('{"trace": [{"at_ms": 5}, {"at_ms": 4}]}', "at_ms must grow"),
        ('{"changes": [{"at_ms": 5, "set": {"duplicate": 3}}]}', r"changes\[0\].set.duplicate is 3"),
    ],
)
def test_a_wrong_spec_names_its_key(spec: str, message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        LinkModel(spec, 1)
