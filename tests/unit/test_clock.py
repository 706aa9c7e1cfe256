"""A session's clock is fixed at its start."""

from __future__ import annotations

from collections.abc import Iterator

from punktfunk.clock import SessionClock, monotonic_ns, realtime_ns


def _ticks(values: list[int]) -> Iterator[int]:
    return iter(values)


def test_the_offset_comes_from_the_shortest_bracket() -> None:
    # Eight rounds; the sixth is bracketed by 10 ns, the others by 1000 ns with a wall clock 400 ns off.
    monotonic = []
    realtime = []
    for round_ in range(8):
        start = 10_000 * round_
        width = 10 if round_ == 5 else 1000
        monotonic += [start, start + width]
        realtime.append(start + width // 2 + 1_000_000 + (0 if round_ == 5 else 400))
    clock = SessionClock.start(_ticks(monotonic).__next__, _ticks(realtime).__next__)
    assert clock == SessionClock(offset_ns=1_000_000, error_ns=5)


def test_a_step_of_the_wall_clock_moves_nothing_on_the_wire() -> None:
    now = 5_000
    wall_offset = 1_700_000_000_000_000_000
    clock = SessionClock.start(lambda: now, lambda: now + wall_offset)
    before = clock.to_wire(now)
    wall_offset -= 3_600_000_000_000
    now += 16_666_667
    assert clock.to_wire(now) - before == 16_666_667
    assert clock.from_wire(clock.to_wire(now)) == now


def test_the_real_clocks_agree_with_the_offset_within_its_bound_and_a_millisecond() -> None:
    clock = SessionClock.start()
    best = min(abs(clock.to_wire(monotonic_ns()) - realtime_ns()) for _ in range(100))
    assert best <= clock.error_ns + 1_000_000
