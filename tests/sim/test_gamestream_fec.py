"""FEC over GameStream that follows what clients say of damaged blocks, through the host's own controller."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness.analysis import agreement, records
from harness.peers.simulated import GameStreamSimulation, Simulation
from harness.run.code import code_of
from harness.scenario.model import Session
from punktfunk.core import simulate
from punktfunk.errors import InvalidConfigError
from punktfunk.gamestream.control import FecStatus
from punktfunk.host.stream.adaptive_fec import MAX_FEC_PERCENT

FPS = 60
DELAY_S = 0.01


@dataclass(frozen=True)
class Followed:
    """A stream whose FEC followed its losses."""

    spec: Session
    simulation: Simulation
    table: records.Records

    @property
    def percents(self) -> tuple[int, ...]:
        found = self.simulation.streamed().percents
        assert found is not None
        return found

    @property
    def p_value(self) -> float:
        found = agreement.case_theory(
            [agreement.sent_bytes(self.table)],
            self.simulation.stats("client").counters["frames_complete"],
            self.spec.link.down.core(),
            code_of(self.spec),
            percents=[agreement.sent_percents(self.table, self.percents)],
        )
        assert found["fec_percent_followed"] == 1.0
        return found["p_value"]


def followed(
    loss: str | dict[str, Any],
    *,
    percent: int = 5,
    frames: int = 600,
    frame: str = "41 kB",
    seed: int = 1,
    events: tuple[dict[str, Any], ...] = (),
    protocol: str = "gamestream",
) -> Followed:
    spec = Session.model_validate(
        {
            "protocol": protocol,
            "stream": {"fec": f"{percent} %", "adaptive_fec": True},
            "media": {"frames": frames, "frame_bytes": frame, "bitrate": "100 Mbit/s", "key_interval": 0},
            "link": {
                "backend": "sim",
                "down": {"loss": loss},
                "up": {"delay": f"{DELAY_S * 1000:g} ms"},
            },
            "events": list(events),
        }
    )
    made = GameStreamSimulation if protocol == "gamestream" else Simulation
    simulation = made(spec, seed)
    simulation.host.start()
    simulation.client.start()
    streamed = simulation.streamed()
    assert not any(streamed.balances.values()), streamed.balances
    assert streamed.frames["corrupt"] == 0
    return Followed(spec, simulation, records.join(simulation.host.records(), simulation.client.records()))


@pytest.mark.parametrize(("loss", "least"), [("8 %", 12), ("15 %", 22), ("30 %", 40)])
def test_loss_raises_the_percentage_within_a_second(loss: str, least: int) -> None:
    percents = followed(loss).percents
    assert percents[0] == 5
    assert percents[FPS] >= least, percents[: 2 * FPS]
    assert max(percents) <= MAX_FEC_PERCENT


def test_loss_that_begins_later_is_followed_as_soon_and_a_clean_path_goes_back_down() -> None:
    """Lost packets from second 2 to 4 of 40; a step down takes a thousand packets and 0.75 s."""
    burst = ({"at": "2 s", "down": {"loss": "12 %"}}, {"at": "4 s", "down": {"loss": "0 %"}})
    percents = followed("0 %", frames=40 * FPS, events=burst).percents
    assert set(percents[: 2 * FPS]) == {5}
    assert percents[3 * FPS] >= 10
    assert percents[4 * FPS - 1] >= 16
    calm = percents[5 * FPS :]
    assert all(later <= earlier for earlier, later in pairwise(calm))
    assert calm[-1] == 5


def test_what_was_asked_for_is_the_floor_and_light_loss_of_small_frames_is_no_heavy_one() -> None:
    """A frame of one packet and two of recovery: one that is lost is a third of what its client speaks of."""
    assert set(followed("0 %", percent=20).percents) == {20}
    assert set(followed("5 %", percent=20).percents) == {20}
    assert max(followed("2 %", frame="1 kB").percents) <= 8


@pytest.mark.parametrize("protocol", ["gamestream", "punktfunk/1"])
@pytest.mark.parametrize("loss", ["5 %", "10 %", "20 %"])
def test_recovery_agrees_with_theory_frame_by_frame_with_the_percentage_of_each(
    loss: str, protocol: str
) -> None:
    run = followed(loss, frames=1200, protocol=protocol, seed=3)
    assert len(set(run.percents)) > 1
    # The percentage that the packets of a frame were really made with.
    sent = run.table["m"] / run.table["k"]
    expected = np.array(agreement.sent_percents(run.table, run.percents)) / 100
    assert np.all(sent >= expected - 1e-9)
    assert np.all(sent < expected + 2 / run.table["k"])
    assert run.p_value > 0.001 / 6  # a family of six


def test_a_theory_that_kept_the_first_percentage_would_be_found_out() -> None:
    run = followed("20 %", frames=1200, seed=3)
    wrong = agreement.case_theory(
        [agreement.sent_bytes(run.table)],
        run.simulation.stats("client").counters["frames_complete"],
        run.spec.link.down.core(),
        code_of(run.spec),
    )
    assert wrong["p_value"] < 1e-6 < run.p_value


def test_of_bursts_nothing_exact_is_said() -> None:
    run = followed({"rate": "8 %", "burst": 8})
    assert (
        agreement.case_theory(
            [agreement.sent_bytes(run.table)],
            run.simulation.stats("client").counters["frames_complete"],
            run.spec.link.down.core(),
            code_of(run.spec),
            percents=[agreement.sent_percents(run.table, run.percents)],
        )
        == {}
    )


def test_a_client_says_of_each_damaged_block_what_the_records_have() -> None:
    said: list[FecStatus] = []

    def follow(_now: int, _frames: int, _packets: int, ppm: int | None, blocks: list[Any]) -> None:
        assert ppm is None
        said.extend(FecStatus(*block) for block in blocks)

    order = {
        "gamestream": {"packet_size": 1392, "fec_percent": 20},
        "link": {"loss": {"kind": "independent", "p": 0.02}},
        "frames": 300,
        "frame_bytes": {"kind": "constant", "bytes": 20_000},
        "loss_words": {"interval_us": 100_000, "delay_us": 0},
        "seed": 5,
    }
    result = simulate(json.dumps(order), follow)
    columns = {name: np.frombuffer(data, "<i8") for name, data in result.records().items()}
    by_frame = {int(at): row for row, at in enumerate(columns["index"])}
    first = np.concatenate([[0], np.cumsum(columns["packets"])[:-1]])
    assert len(said) > 30
    for status in said:
        row = by_frame[status.frame]
        assert (status.data, status.parity) == (columns["k"][row], columns["m"][row])
        assert status.data - status.data_received == columns["data_missing"][row] > 0
        assert (status.fec_percent, status.block, status.blocks) == (20, 0, 1)
        assert (
            first[row]
            <= status.next_sequence
            < status.highest_sequence
            < first[row] + status.data + status.parity
        )
        mended = status.data_received + status.parity_received == status.data
        assert mended == (columns["status"][row] == 0)
    # All of them but those of the last tenth of a second, which nobody heard any more.
    damaged = columns["index"][(columns["data_missing"] > 0) & (columns["index"] <= 290)]
    assert {int(at) for at in damaged} <= {status.frame for status in said}


def test_a_follower_that_fails_ends_the_simulation_with_its_error() -> None:
    def follow(*_: Any) -> None:
        raise RuntimeError("no more")

    order = {"gamestream": {}, "frames": 120, "loss_words": {"interval_us": 1000, "delay_us": 0}}
    with pytest.raises(RuntimeError, match="no more"):
        simulate(json.dumps(order), follow)
    with pytest.raises(InvalidConfigError, match="loss_words"):
        simulate(json.dumps({"frames": 1}), follow)
