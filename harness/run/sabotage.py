"""Links other than the one asked for, to show that a run on such a link is refused.

``PUNKTFUNK_LAB_SABOTAGE`` names one: ``half-loss`` and ``wrong-delay`` before the session, which the probe finds,
``gso`` for the senders' devices of a netem link, and with ``@SECONDS`` one that begins in mid-run, which the windows
find: ``half-loss@5``, ``delay+20%@5``, ``trace+1s@5``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.link.asked import Asked
from harness.link.base import CoreSpec, LinkSpecs, steady
from punktfunk.errors import UsageError

VARIABLE: Final = "PUNKTFUNK_LAB_SABOTAGE"
_LENGTH_NS: Final = 600_000_000_000
"""How much of a trace is written out to be shifted."""


@dataclass(frozen=True, slots=True)
class Sabotage:
    """What is done to a link instead of what was asked for."""

    kind: str = ""
    at_s: float | None = None
    """When, in seconds since the session began; None: before it."""

    @classmethod
    def from_environment(cls) -> Sabotage:
        """Return what the environment asks for; raise :class:`UsageError` for what there is not."""
        text = os.environ.get(VARIABLE, "")
        found = re.fullmatch(r"([^@]*)(?:@(\d+(?:\.\d+)?))?", text)
        known = {"", "gso", "half-loss", "wrong-delay"} if found and found[2] is None else set(_LATER)
        if found is None or found[1] not in known:
            raise UsageError(
                f"{VARIABLE}={text} is unknown",
                f"half-loss, wrong-delay, gso, or with @SECONDS {', '.join(_LATER)}",
            )
        return cls(found[1], None if found[2] is None else float(found[2]))

    def before(self, asked: LinkSpecs) -> LinkSpecs:
        """Return the link that is really applied for the probe."""
        if self.at_s is not None or self.kind in {"", "gso"}:
            return asked
        if self.kind == "half-loss":
            return LinkSpecs(_half_loss(asked.down, 0.0), asked.up, asked.seed)
        return LinkSpecs(
            asked.down | {"delay_us": float(asked.down.get("delay_us") or 0) + 5_000}, asked.up, asked.seed
        )

    def later(self, asked: CoreSpec, now_s: float) -> CoreSpec:
        """Return what the way down becomes at ``now_s``, when the sabotage begins."""
        return _LATER[self.kind](asked, now_s)


def _half_loss(asked: CoreSpec, now_s: float) -> CoreSpec:
    del now_s
    loss = dict(asked.get("loss") or {})
    if "p" not in loss:
        raise UsageError("half of no loss is no sabotage")
    return steady(asked) | {"loss": loss | {"p": loss["p"] / 2}}


def _longer_delay(asked: CoreSpec, now_s: float) -> CoreSpec:
    del now_s
    return steady(asked) | {"delay_us": float(asked.get("delay_us") or 0) * 1.2}


def _late_trace(asked: CoreSpec, now_s: float) -> CoreSpec:
    """Return the trace as it was a second before, from now on."""
    if not asked.get("trace"):
        raise UsageError("there is no trace to shift")
    plan = Asked(asked)
    from_ns = round((now_s - 1) * 1e9)
    moments = plan.moments(from_ns, _LENGTH_NS)
    points: list[dict[str, Any]] = []
    for moment, number in zip(moments, plan.number_at(moments + from_ns), strict=True):
        state = plan.state(int(number))
        point: dict[str, Any] = {"at_ms": math.floor(moment / 1e3) / 1e3, "delay_us": state.delay_us}
        if state.rate_kbps is not None:
            point["rate_kbps"] = state.rate_kbps
        if state.loss["kind"] in {"none", "independent"}:
            point["loss_p"] = state.loss.get("p", 0.0)
        points.append(point)
    base = {key: value for key, value in asked.items() if key not in ("trace", "trace_repeat", "changes")}
    return base | {"trace": points, "trace_repeat": False}


_LATER: Final[dict[str, Callable[[CoreSpec, float], CoreSpec]]] = {
    "half-loss": _half_loss,
    "delay+20%": _longer_delay,
    "trace+1s": _late_trace,
}
