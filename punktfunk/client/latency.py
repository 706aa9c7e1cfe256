"""Latency against another machine's clock: what a figure means that is smaller than what the clocks can tell.

The offset of the host's clock is wrong by up to half a round trip (punktfunk/1 section 2.4). Where the way is short
and one of the ends was busy in the clock rounds, that is more than the latency itself, and the difference of stamps
may come out below zero. No frame arrives before it was captured: such a figure only bounds the latency from above.
"""

from __future__ import annotations


def latency_words(figure_us: int, error_us: int) -> str:
    """Return a latency in milliseconds as text: ``0.27 ms``, or ``<0.90 ms`` of one that came out below zero.

    ``unknown`` where it is below zero by more than ``error_us``: the host's stamps do not fit its clock.
    """
    if figure_us >= 0:
        return f"{figure_us / 1000:.2f} ms"
    bound_us = figure_us + error_us
    return "unknown" if bound_us < 0 else f"<{bound_us / 1000:.2f} ms"
