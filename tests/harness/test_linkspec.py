"""What a scenario asks of a link is what the core's link model is told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.run.case import LIVE
from harness.scenario import traces
from harness.scenario.expand import expand
from harness.scenario.link import Backend, LinkSpec, Loss
from harness.scenario.model import Event
from harness.scenario.traces import read_trace
from punktfunk.core._core import LinkModel

HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to/write-a-scenario.md"
SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


@pytest.mark.parametrize(
    ("written", "average"),
    [
        ("none", 0.0),
        ("0 %", 0.0),
        ("2 %", 0.02),
        (0.1, 0.1),
        ({"rate": "5 %", "burst": 8}, 0.05),
        ({"kind": "bursty", "rate": "20 %"}, 0.2),
        ({"kind": "independent", "rate": "3 %", "burst": 4}, 0.03),
        ({"every": 8}, 0.125),
        ({"every": 4, "offset": 3}, 0.25),
        ({"every": "none"}, 0.0),
        ({"good_to_bad": "1 %", "bad_to_good": "9 %", "loss_in_bad": "50 %"}, 0.05),
    ],
)
def test_the_link_model_loses_what_was_written(written: Any, average: float) -> None:
    loss = Loss.model_validate(written)
    assert loss.average == pytest.approx(average)
    packets = 40_000
    model = LinkModel(json.dumps({"loss": loss.core()}), 99)
    for n in range(packets):
        model.offer(n * 1000, 1200)
    # Losses in bursts of b packets vary 2b - 1 times as much as independent ones; the seed is fixed.
    chain = loss.core()
    burst = 1 / chain["r"] if "r" in chain else 1.0
    tolerance = 4 * math.sqrt((2 * burst - 1) * average * (1 - average) / packets)
    if loss.kind == "periodic":
        tolerance = 1 / packets
    assert model.counters()["dropped_loss"] / packets == pytest.approx(average, abs=tolerance)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"every": 8, "rate": "2 %"}, "periodic loss has no rate"),
        ({"kind": "independent", "rate": "2 %", "offset": 3}, "independent loss has no offset"),
        ({"kind": "bursty"}, "bursty loss wants rate"),
        ({"good_to_bad": "1 %"}, "wants good_to_bad: and bad_to_good:"),
        ({"good_to_bad": "1 %", "bad_to_good": "0 %"}, "never ends"),
        ({"rate": "99 %", "burst": 2}, "cannot average"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Loss.model_validate(written)


def test_a_change_says_only_what_was_written() -> None:
    event = Event.model_validate({"at": "1 s", "down": {"rate": "3 Mbit/s", "loss": "none"}})
    assert event.down is not None
    assert event.down.core() == {"rate_kbps": 3000, "loss": {"kind": "none"}}


def test_an_ideal_link_says_nothing() -> None:
    assert LinkSpec().core() == {}


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_core_takes_every_link_that_ships(file: Path) -> None:
    # A sweep has up to 100,000 cases, which differ in other things than the link: those of one link share its spec, and
    # each spec that is held is another one.
    cases = {
        (id(spec.link), id(spec.events)): (spec, case.seed)
        for case in expand(file).cases
        if (spec := case.spec)
    }
    for link, seed in {json.dumps(spec.core_link("down")): seed for spec, seed in cases.values()}.items():
        LinkModel(link, seed)
    for link, seed in {json.dumps(spec.link.up.core()): seed for spec, seed in cases.values()}.items():
        LinkModel(link, seed, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at_ms,rate_kbps\n", "has no points"),
        ("at_ms,rate\n0,1\n", "wants the columns at_ms"),
        ("rate_kbps\n1\n", "wants the columns at_ms"),
        ("at_ms,rate_kbps\n5,1000\n", "trace.csv:2:1: at_ms starts at 0"),
        ("at_ms,rate_kbps\n0,1000\n0,2000\n", "trace.csv:3:1: at_ms rises"),
        ("at_ms,rate_kbps\n0,fast\n", "trace.csv:2:3: rate_kbps: 'fast' is not a number"),
        ("# a\n\nat_ms,loss_percent\n0, 101\n", "trace.csv:4:3: loss_percent: 101 is out of range"),
        (
            "at_ms,rate_kbps\n0," + "1" * 200_000 + "\n",
            r"trace.csv:2:3: rate_kbps: '1{30} …\d+ characters… 1{10}'",
        ),
        ("at_ms,rate_kbps\n0,1" + "0" * 65 + "\n", "trace.csv:2:3: .*is not a number"),
        ("at_ms," + "x" * 200_000 + "\n", "trace.csv:1:1: wants the columns"),
        ("at_ms,at_ms\n0,0\n", "trace.csv:1:1: wants the columns"),
        ("at_ms,rate_kbps\n0,\x1b[2J\n", r"rate_kbps: '\\x1b\[2J' is not a number"),
        ("at_ms,rate_kbps\n,5\n", "trace.csv:2:1: at_ms is empty"),
    ],
)
def test_a_trace_that_cannot_be_meant_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_trace(path)


def test_a_trace_may_be_as_long_as_its_limit_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert traces.MAX_POINTS == 100_000
    monkeypatch.setattr(traces, "MAX_POINTS", 1000)  # a hundred thousand lines take a second, four times
    path = tmp_path / "trace.csv"
    lines = "".join(f"{n},\n" for n in range(traces.MAX_POINTS))
    path.write_text("at_ms,rate_kbps\n" + lines, encoding="utf-8")
    assert len(read_trace(path)) == traces.MAX_POINTS
    path.write_text("at_ms,rate_kbps\n" + lines + f"{traces.MAX_POINTS},\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f":{traces.MAX_POINTS + 2}:1: a trace has at most 1000 points"):
        read_trace(path)
    monkeypatch.setattr(traces, "MAX_BYTES", path.stat().st_size)
    with pytest.raises(ValueError, match="at most 1000 points"):
        read_trace(path)
    monkeypatch.setattr(traces, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(ValueError, match=r"trace.csv cannot be read: it has \d+ bytes, more than"):
        read_trace(path)


@pytest.mark.parametrize(
    ("column", "most", "beyond"),
    [
        ("rate_kbps", "400000000", "400000000.1"),
        ("delay_ms", "60000", "60000.001"),
        ("loss_percent", "100", "100.001"),
    ],
)
def test_the_largest_values_of_a_trace_are_those_that_the_link_model_takes(
    tmp_path: Path, column: str, most: str, beyond: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"at_ms,{column}\n0,{most}\n864000000,0\n", encoding="utf-8")
    LinkModel(json.dumps(LinkSpec.model_validate({"trace": str(path)}).core()), 1)
    for text in (f"0,{beyond}\n", f"0,{most}\n864000000.001,0\n"):
        path.write_text(f"at_ms,{column}\n{text}", encoding="utf-8")
        with pytest.raises(ValueError, match="is out of range"):
            read_trace(path)


def test_the_order_in_which_auto_tries_links_is_the_one_that_is_documented() -> None:
    assert f"the first of {', '.join([*LIVE, Backend.SIM])} " in (Backend.__doc__ or "")
    assert f"the best of {', '.join([*LIVE, Backend.SIM])} " in HOW_TO.read_text(encoding="utf-8")


def test_an_empty_cell_of_a_trace_leaves_the_value_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(
        "# made by hand\nat_ms,rate_kbps,delay_ms,loss_percent\n0,1000,2.5,1\n10,,,0\n", encoding="utf-8"
    )
    assert [point.core() for point in read_trace(path)] == [
        {"at_ms": 0.0, "rate_kbps": 1000, "delay_us": 2500.0, "loss_p": 0.01},
        {"at_ms": 10.0, "loss_p": 0.0},
    ]
