"""The frame rate that a slow encoder reaches: lowered after two slow seconds, raised with patience."""

from __future__ import annotations

from punktfunk.host.stream.attainable import LEAST_HZ, AttainableRate


def _seconds(rate: AttainableRate, encode_us: int | None, count: int) -> list[int]:
    """Return the rates after each of so many seconds."""
    rates = []
    for _ in range(count):
        changed = rate.second(encode_us)
        assert changed == (rate.hz != (rates[-1] if rates else rate.hz)) or not rates
        rates.append(rate.hz)
    return rates


def test_one_slow_second_changes_nothing_and_two_do() -> None:
    rate = AttainableRate(60)
    assert _seconds(rate, 40_000, 1) == [60]
    assert _seconds(rate, 8_000, 1) == [60]
    assert _seconds(rate, 40_000, 2) == [60, 21]
    assert _seconds(rate, 40_000, 100)[-1] == 21, "what it reaches is not too slow for it"


def test_an_encoder_that_keeps_up_is_left_alone() -> None:
    rate = AttainableRate(60)
    assert set(_seconds(rate, 16_600, 100)) == {60}
    assert not rate.second(None)


def test_a_machine_that_is_idle_again_gets_its_rate_back_after_a_while() -> None:
    rate = AttainableRate(60)
    _seconds(rate, 40_000, 2)
    assert _seconds(rate, 14_000, 5) == [21, 21, 21, 21, 60]


def test_a_rate_that_was_too_much_is_tried_again_later_each_time() -> None:
    rate = AttainableRate(60)
    waits = []
    for _ in range(6):
        _seconds(rate, 40_000, 2)
        waits.append(1)
        while not rate.second(10_000):
            waits[-1] += 1
    assert waits == [5, 10, 20, 40, 80, 80]


def test_no_rate_is_below_the_least() -> None:
    rate = AttainableRate(60)
    _seconds(rate, 3_000_000, 2)
    assert rate.hz == LEAST_HZ
    assert AttainableRate(3).second(3_000_000) is False
