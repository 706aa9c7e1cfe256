"""Whether measured frame recovery agrees with theory: one exact test a case, Holm over the sweep.

A case's p-value is exact for the frame sizes that were really sent, whatever the loss process, bursts that
span frames included; seeds are independent streams, so that the total over seeds (their mean, times a
constant) has an exact distribution too. A sweep fails when any adjusted p-value is at or below the
family-wise error, which chance does once in a thousand sweeps; and it states how surely it would have caught
a codec that makes one recovery shard too few, because a check that cannot fail shows nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Final

import numpy as np
from scipy import special

from harness.analysis import theory
from harness.analysis.code import Code
from harness.analysis.records import NULL, Records
from harness.analysis.results import CaseResult, Check
from harness.analysis.stats import holm
from harness.analysis.theory import Blocks, FloatArray, GilbertElliott, Loss, Prediction

FAMILY_WISE_ERROR: Final = 0.001


def case_theory(
    sizes: Sequence[tuple[int, ...]],
    complete: int,
    link: Mapping[str, Any],
    code: Code,
    *,
    percents: Sequence[tuple[int, ...]] | None = None,
) -> dict[str, float]:
    """Return what theory says of a case beside what was found: empty where the link has no exact theory.

    ``sizes`` are the bytes of the frames that were put on the wire in order, one tuple a seed
    (:func:`sent_bytes`), ``complete`` how many of them all were complete; ``link`` describes the direction
    host to client as the core takes it, ``code`` how the wire cuts and protects them. The keys:
    ``recovery`` expected share of complete frames, ``recovery_low`` and ``recovery_high`` the 95 % band of
    the measured share, ``p_value``, ``complete`` and ``frames`` as measured; ``loss``, ``burst_packets`` (1:
    independent) and the geometry, from which a report draws the curve; ``expected``, ``sd``, ``one_short``,
    ``one_short_sd`` counts under the announced code and one recovery shard less in each block.

    ``percents`` are the FEC percentages of the same frames, where they followed loss (``fec_percent_followed``).
    Each was decided before its frame was sent, so that the expected share of every frame is exact given what came
    before, and so are mean and variance of their sum; its distribution is that of independent frames in the limit
    of many. That holds of loss without memory only: a percentage that rose tells of a burst that may not be over,
    and nothing is said then.
    """
    loss = theory.process_of(link)
    if loss is None or not any(sizes) or (percents and isinstance(loss, GilbertElliott)):
        return {}
    whole = _predict(sizes, loss, code, percents, short=0)
    short = _predict(sizes, loss, code, percents, short=1)
    low, high = whole.interval()
    frames = whole.frames
    every = [size for stream in sizes for size in stream]
    return {
        "recovery": whole.rate,
        "recovery_low": low / frames,
        "recovery_high": high / frames,
        "p_value": whole.p_value(complete),
        "complete": complete,
        "frames": frames,
        "seeds": len(sizes),
        "loss": loss.mean,
        "burst_packets": burst_packets(loss),
        "periodic": float(isinstance(loss, theory.Periodic)),
        "frame_bytes": sum(every) / len(every),
        "frame_bytes_vary": float(len(set(every)) > 1),
        **code.numbers(),
        **({"fec_percent_followed": 1.0} if percents else {}),
        "expected": whole.mean,
        "sd": math.sqrt(whole.variance),
        "one_short": short.mean,
        "one_short_sd": math.sqrt(short.variance),
    }


def burst_packets(loss: Loss) -> float:
    """Return the mean number of packets of a visit to the bad state; 1 for loss without memory."""
    return 1 / loss.r if isinstance(loss, GilbertElliott) and loss.r > 0 else 1.0


def curve(found: Mapping[str, float], losses: Sequence[float]) -> list[float]:
    """Return the theory's recovery at other mean losses for the code and the burstiness of a case.

    ``found`` is what :func:`case_theory` returned; a stream of one frame of the mean size stands for all.
    """
    blocks = Code.of(found).blocks(round(found["frame_bytes"]))
    burst = found.get("burst_packets", 1.0)
    values = []
    for loss in losses:
        process = theory.bursty(loss, burst) if burst > 1 else theory.Independent(loss)
        values.append(theory.predict([blocks], process).rate)
    return values


@dataclass(frozen=True, slots=True)
class Judged:
    """What theory says of the cells of a sweep beside what they found, an array a figure, shape (cells,)."""

    p_value: FloatArray
    complete: FloatArray
    frames: FloatArray
    expected: FloatArray
    sd: FloatArray
    one_short: FloatArray
    one_short_sd: FloatArray

    @classmethod
    def of(cls, cells: Sequence[Mapping[str, float]]) -> Judged:
        """Return the cells of results (:func:`case_theory`) as arrays."""
        return cls(**{field.name: np.array([cell[field.name] for cell in cells]) for field in fields(cls)})


def sweep_check(
    cases: Sequence[CaseResult], fwer: float = FAMILY_WISE_ERROR, *, family: int = 0
) -> Check | None:
    """Return the verdict of a whole sweep; None when no case has a theory. ``family`` as in :func:`judged_check`."""
    judged = [case for case in cases if "p_value" in case.theory]
    found = Judged.of([case.theory for case in judged])
    return judged_check(found, lambda cell: judged[cell].id, fwer, family=family)


def judged_check(
    cells: Judged, name_of: Callable[[int], str], fwer: float = FAMILY_WISE_ERROR, *, family: int = 0
) -> Check | None:
    """Return the verdict of a whole sweep, of which ``name_of`` tells the cells; None where there is none.

    ``family`` is the number of cells from which these were chosen for what they showed. The farthest of 100,000 is
    as far as that by chance, and must not fail when it is run again by itself.
    """
    count = cells.p_value.size
    if not count:
        return None
    family = max(family, count)
    adjusted = np.array(holm(np.append(cells.p_value, np.ones(family - count)))[:count])
    off = [int(cell) for cell in np.argsort(adjusted, kind="stable") if adjusted[cell] <= fwer]
    caught = power_of(cells, fwer, family=family)
    detail = (
        f"one recovery shard too few would be caught with probability {_chance(caught)}"
        if caught > 0.01
        else "one recovery shard too few would not show here"
    )
    if off:
        detail = (
            "; ".join(
                f"{name_of(cell)}: {cells.complete[cell]:.0f} of {cells.frames[cell]:.0f} frames complete, "
                f"expected {cells.expected[cell]:.1f} ± {cells.sd[cell]:.1f} (adjusted p {adjusted[cell]:.2g})"
                for cell in off[:10]
            )
            + (f"; and {len(off) - 10} more" if len(off) > 10 else "")
            + f"; {detail}"
        )
    of_all = f"{count} of {family}" if family > count else f"{count}"
    return Check(
        name="recovery agrees with theory",
        passed=not off,
        expected=f"every Holm-adjusted p above {fwer:g} over {of_all} cells",
        measured=f"smallest adjusted p {adjusted.min():.2g}, {len(off)} cells off",
        detail=detail,
    )


def power_one_short(cells: Sequence[Mapping[str, float]], fwer: float = FAMILY_WISE_ERROR) -> float:
    """Return how likely a sweep rejects a codec with one recovery shard too few in every block.

    Normal in each cell, Bonferroni over the cells (Holm rejects at least as often), cells independent.
    """
    return power_of(Judged.of(cells), fwer)


def power_of(cells: Judged, fwer: float, *, family: int = 0) -> float:
    """Return the same of cells as arrays, which may be some of a larger ``family``."""
    reach = -float(special.ndtri(fwer / 2 / max(1, family, cells.expected.size)))
    gap, other = cells.expected - cells.one_short, cells.one_short_sd
    spread = np.where(other > 0, other, 1.0)
    low, high = (gap - reach * cells.sd) / spread, (gap + reach * cells.sd) / spread
    certain = (np.abs(gap) > reach * cells.sd) & (gap != 0)
    missed = np.where(other > 0, special.ndtr(high) - special.ndtr(low), np.where(certain, 0.0, 1.0))
    return 1.0 - float(np.prod(missed))


def sent_bytes(records: Records) -> tuple[int, ...]:
    """Return the bytes of each frame that was put on the wire, in order, from the joined records."""
    sent = (records["host_status"] != 1) & (records["bytes"] != NULL)
    order = records["index"][sent].argsort(kind="stable")
    return tuple(records["bytes"][sent][order].tolist())


def sent_percents(records: Records, percents: Sequence[int]) -> tuple[int, ...]:
    """Return the FEC percentage of each frame of :func:`sent_bytes`, from those of all that were submitted."""
    sent = (records["host_status"] != 1) & (records["bytes"] != NULL)
    index = records["index"]
    first = int(index.min()) if len(index) else 0
    return tuple(percents[at - first] for at in sorted(index[sent].tolist()))


def _predict(
    sizes: Sequence[tuple[int, ...]],
    loss: Loss,
    code: Code,
    percents: Sequence[tuple[int, ...]] | None,
    short: int,
) -> Prediction:
    @cache
    def blocks(size: int, percent: int) -> Blocks:
        of = replace(code, fec_percent=percent)
        return tuple((k, max(0, m - short)) for k, m in of.blocks(size))

    of_frames = percents or [(code.fec_percent,) * len(stream) for stream in sizes]
    streams = [
        theory.predict([blocks(*frame) for frame in zip(stream, of_stream, strict=True)], loss).times(count)
        for (stream, of_stream), count in Counter(zip(sizes, of_frames, strict=True)).items()
        if stream
    ]
    return streams[0] if len(streams) == 1 else theory.total(streams)


def _chance(p: float) -> str:
    return f"{p:.4f}" if p < 0.9999 else "above 0.9999"
