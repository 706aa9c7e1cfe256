"""How often the gate is wrong on this machine: a pool of pairs of two equal commits, drawn from again and again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.analysis import runs, stats
from harness.analysis.compare import value_of
from harness.analysis.stats import Verdict
from punktfunk.errors import CheckFailedError
from punktfunk.terminal import say

if TYPE_CHECKING:
    from tests.builds.__main__ import Planted

POOL: Final = 500
DRAWS: Final = 1000
FIGURES: Final = ("core_cpu", "case_cpu")
EFFECT: Final = 1.05
PAIRS: Final = (12, 16, 20, 25, 30, 40, 50, 70, 100, 140, 200)


def pool_of(folder: Path) -> dict[str, np.ndarray]:
    """Return the pairs of a comparison by figure, each of shape (n, 2), in the order in which they ran."""
    a, b = (runs.load(folder / side)[0].cases for side in ("a", "b"))
    rows = {
        name: [(value_of(x, name), value_of(y, name)) for x, y in zip(a, b, strict=True)] for name in FIGURES
    }
    return {name: np.array(values, dtype=np.float64) for name, values in rows.items()}


def rates(pool: dict[str, np.ndarray], pairs: int, planted: float, draws: int = DRAWS) -> dict[str, float]:
    """Return the share of comparisons of ``pairs`` pairs that flag a figure of which ``planted`` is the true ratio.

    Pairs are drawn without replacement, and a coin calls one of each the other: then nothing differs but what is
    planted. All figures are planted alike, as a slower core makes them.
    """
    rng = np.random.default_rng(5)
    flagged = dict.fromkeys(FIGURES, 0)
    for _ in range(draws):
        chosen = rng.choice(len(pool[FIGURES[0]]), pairs, replace=False)
        turned = rng.random(pairs) < 0.5
        drawn = {}
        for name, table in pool.items():
            both = np.where(turned[:, None], table[chosen][:, ::-1], table[chosen])
            drawn[name] = [(a, b * planted) for a, b in both.tolist()]
        for judgement in stats.judge(drawn):
            flagged[judgement.name] += judgement.verdict is Verdict.REGRESSION
    return {name: count / draws for name, count in flagged.items()}


def main(planted: Planted) -> None:
    """Record a pool or take one that is there, print the rates by pairs, and fail where no number of pairs will do."""
    pool = pool_of(planted.pool or _recorded(planted))
    count = len(pool[FIGURES[0]])
    say(f"{count} pairs of two equal commits; of {DRAWS} comparisons of as many of them are flagged:")
    say(f"{'pairs':>6}" + "".join(f"{name + ' equal':>18}{name + ' +5 %':>18}" for name in FIGURES))
    enough: dict[str, int] = {}
    for pairs in (pairs for pairs in PAIRS if pairs <= count):
        wrong, caught = (rates(pool, pairs, ratio) for ratio in (1.0, EFFECT))
        say(f"{pairs:>6}" + "".join(f"{wrong[name]:>18.1%}{caught[name]:>18.1%}" for name in FIGURES))
        if any(share > 0.01 for share in wrong.values()):
            raise CheckFailedError("more than 1 % of comparisons of equals are flagged")
        for name in FIGURES:
            if caught[name] >= 0.95:
                enough.setdefault(name, pairs)
    for name in FIGURES:
        say(f"{name}: {enough.get(name, 'more than were recorded')} pairs show 5 % here, 95 times in 100")
    if FIGURES[0] not in enough:
        raise CheckFailedError(f"{FIGURES[0]} does not show 5 % here")


def _recorded(planted: Planted) -> Path:
    planted.on_base()
    (same,) = planted.history.grow(1, {})
    code, said = planted.lab(
        *("ab", planted.base, same, str(planted.scenario), "--pairs", str(POOL), "--plain"),
        *(word for name in FIGURES for word in ("--metric", name)),
    )
    if code not in {0, 4}:
        raise CheckFailedError("two equal commits were told apart")
    return Path(said.partition("results: ")[2].splitlines()[0])
