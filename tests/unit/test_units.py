"""Quantities parse exactly, print what they parse, and refuse with a hint."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from punktfunk.errors import UnitError
from punktfunk.units import Bitrate, DataSize, Duration, Mode, Percent, Probability, Quantity, Resolution


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Bitrate, "10 Mbit/s", 10_000_000),
        (Bitrate, "500kbit/s", 500_000),
        (Bitrate, "1.5 Gbit/s", 1_500_000_000),
        (Bitrate, "8 Mbps", 8_000_000),
        (Bitrate, "1_000 bit/s", 1000),
        (Duration, "20 s", 20 * 10**9),
        (Duration, "5 ms", 5 * 10**6),
        (Duration, "150 us", 150_000),
        (Duration, "150 µs", 150_000),
        (Duration, "0.1 us", 100),
        (Duration, "2 min", 120 * 10**9),
        (Duration, "0", 0),
        (Duration, 0, 0),
        (DataSize, "64 KiB", 65536),
        (DataSize, "64 kB", 64000),
        (DataSize, "1200 B", 1200),
    ],
)
def test_text_becomes_an_exact_number_of_base_units(kind: type[Quantity], text: object, value: int) -> None:
    parsed = kind.parse(text)
    assert getattr(parsed, parsed.__slots__[0]) == value
    assert kind.parse(parsed) is parsed


@pytest.mark.parametrize(
    ("kind", "text", "cause", "hint"),
    [
        (Bitrate, "10", "has no unit", "10 Mbit/s"),
        (Bitrate, 10, "has no unit", "10 Mbit/s"),
        (Bitrate, "10 mbit/s", "not a unit", "did you mean 'Mbit/s'"),
        (Bitrate, "10 Mbits/s", "not a unit", "did you mean 'Mbit/s'"),
        (Bitrate, "10 MB/s", "counts bytes", "multiply by 8"),
        (Bitrate, "-1 Mbit/s", "negative", "0 or more"),
        (Bitrate, "0.5 bit/s", "finer than 1 bit/s", "round"),
        (Bitrate, "ten Mbit/s", "not a bitrate", "number and a unit"),
        (Bitrate, True, "not a bitrate", "write text"),
        (Bitrate, "99999999999999999 Gbit/s", "too large", "the most is"),
        (Duration, "20 sec", "not a unit", "units are"),
        (Duration, "0.5 ns", "finer than 1 ns", "round"),
        (Duration, 1.5, "has no unit", "20 ms"),
        (Duration, None, "not a duration", "write text"),
        (DataSize, "64 kb", "not a unit", "did you mean 'kB'"),
        (Probability, 2, "not from 0 to 1", "'2 %'"),
        (Probability, "101 %", "not from 0 to 1", "100 %"),
        (Probability, float("nan"), "not a probability", "finite"),
        (Probability, "2 percent", "not a unit", "'2 %'"),
        (Percent, "-1 %", "negative", "'20 %'"),
        (Percent, float("inf"), "not a percentage", "finite"),
        (Resolution, "1280", "not a resolution", "1280x720"),
        (Resolution, "1281x720", "width 1281", "even"),
        (Resolution, "1280x9000", "height 9000", "even"),
        (Mode, "1280x720", "not a video mode", "1280x720@60"),
        (Mode, "1280x720@0", "frames per second", "@60"),
        (Mode, 1280, "not a video mode", "1280x720@60"),
    ],
)
def test_a_wrong_quantity_is_refused_with_a_hint(
    kind: type[Quantity], text: object, cause: str, hint: str
) -> None:
    with pytest.raises(UnitError) as raised:
        kind.parse(text)
    assert cause in raised.value.cause
    assert hint in raised.value.hint


def test_percent_sign_and_share_of_one_are_the_same_probability() -> None:
    assert (
        Probability.parse("2 %") == Probability.parse(0.02) == Probability.parse("0.02") == Probability(0.02)
    )
    assert Probability.parse("2 %").percent == 2.0
    assert Probability.parse("0.1 %").value == 0.001
    assert Probability.parse(1e-7).value == 1e-7


def test_a_percentage_needs_no_sign_and_may_pass_one_hundred() -> None:
    assert Percent.parse("20 %") == Percent.parse(20) == Percent.parse("20")
    assert Percent.parse("20 %").fraction == 0.2
    assert Percent.parse("250 %").fraction == 2.5


def test_a_mode_knows_its_parts() -> None:
    mode = Mode.parse("1280x720@60Hz")
    assert (mode.width, mode.height, mode.refresh_hz) == (1280, 720, 60)
    assert mode.resolution == Resolution.parse("1280 x 720")
    assert mode.frame_interval == Duration(16_666_667)
    assert str(mode) == "1280x720@60"


def test_a_rate_over_a_time_is_bytes() -> None:
    assert Bitrate.parse("10 Mbit/s").bytes_in(Duration.parse("20 ms")) == 25_000
    assert Bitrate.parse("1499 bit/s").kbps == 1
    assert Bitrate.from_kbps(8000) == Bitrate.parse("8 Mbit/s")


def test_quantities_are_ordered_by_size() -> None:
    assert Duration.parse("1 s") > Duration.parse("999 ms")
    assert Bitrate.parse("1 Mbit/s") < Bitrate.parse("1001 kbit/s")


@given(st.integers(0, 2**63 - 1), st.sampled_from([Bitrate, Duration, DataSize]))
def test_what_is_printed_parses_back(
    value: int, kind: type[Bitrate] | type[Duration] | type[DataSize]
) -> None:
    quantity = kind(value)
    assert kind.parse(str(quantity)) == quantity


@given(st.floats(0, 1))
def test_a_printed_probability_parses_back(value: float) -> None:
    assert Probability.parse(str(Probability(value))) == Probability(value)


@given(st.text(max_size=12))
def test_any_text_is_parsed_or_refused_with_a_unit_error(text: str) -> None:
    for kind in (Bitrate, Duration, DataSize, Probability, Percent, Resolution, Mode):
        try:
            kind.parse(text)
        except UnitError:
            continue


class _Model(BaseModel):
    rate: Bitrate
    delay: Duration = Duration(0)
    loss: Probability = Probability(0.0)
    mode: Mode = Mode(1280, 720, 60)


def test_quantities_validate_and_serialise_in_pydantic_models() -> None:
    model = _Model.model_validate({"rate": "10 Mbit/s", "delay": "5 ms", "loss": "2 %"})
    assert model.loss.value == 0.02
    written = model.model_dump_json()
    assert json.loads(written) == {"rate": "10 Mbit/s", "delay": "5 ms", "loss": "2 %", "mode": "1280x720@60"}
    assert _Model.model_validate_json(written) == model


def test_pydantic_reports_a_unit_error_at_its_field() -> None:
    with pytest.raises(ValidationError) as raised:
        _Model.model_validate({"rate": "10 Mbits"})
    (error,) = raised.value.errors()
    assert error["loc"] == ("rate",)
    assert "not a unit of bitrate" in error["msg"]


def test_the_json_schema_of_a_quantity_says_how_to_write_it() -> None:
    properties = _Model.model_json_schema()["properties"]
    assert properties["rate"]["examples"] == ["10 Mbit/s", "500 kbit/s"]
    assert "pattern" in properties["mode"]
