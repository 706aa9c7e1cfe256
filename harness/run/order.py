"""The order in which cases run: as the scenario has them, the sides of an A/B comparison interleaved."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from harness.analysis.compare import AXIS, other_axes
from harness.scenario.expand import Case


def in_turn(cases: Sequence[Case]) -> list[Case]:
    """Return the cases in the order to run them: of each pair a and b, a coin says which goes first.

    Repeats of an interleaved layer come one after another, so that the two of a pair are neighbours in time;
    other cases keep their place. The coin is drawn from the cases' own seeds: the same scenario runs in the
    same order.
    """
    pairs: dict[tuple[str, str, int], list[Case]] = defaultdict(list)
    first: dict[str, int] = {}
    layers = {case.layer for case in cases}
    others = {layer: other_axes([c.params for c in cases if c.layer == layer]) for layer in layers}
    for place, case in enumerate(cases):
        if case.params.get(AXIS) in {"a", "b"}:
            rest = repr([str(case.params.get(name)) for name in others[case.layer]])
            pairs[case.layer, rest, case.repeat].append(case)
            first.setdefault(case.layer, place)
    if not pairs:
        return list(cases)
    ordered: dict[str, list[Case]] = defaultdict(list)
    for (layer, _, _), both in sorted(pairs.items(), key=lambda item: (item[0][2], item[0][1])):
        coin = hashlib.sha256(repr(sorted(case.seed for case in both)).encode()).digest()[0] & 1
        ordered[layer] += sorted(both, key=lambda case: str(case.params[AXIS]), reverse=bool(coin))
    result: list[Case] = []
    for place, case in enumerate(cases):
        if case.params.get(AXIS) not in {"a", "b"}:
            result.append(case)
        elif first[case.layer] == place:
            result += ordered[case.layer]
    return result
