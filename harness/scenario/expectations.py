"""Expectations of a scenario: checked for sense when it is read, for truth when a case has ended."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping

from pydantic import ValidationError

from harness.analysis.definitions import METRICS
from harness.analysis.results import Check, Metric
from harness.scenario.diagnostics import Problem, did_you_mean
from harness.scenario.document import Node
from harness.scenario.model import Expectation
from punktfunk.errors import UnitError
from punktfunk.units import Bitrate, DataSize, Duration, Percent, Probability

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_BITS = {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "KiB": 1024.0, "MiB": 1048576.0}


def parse_value(text: str, unit: str) -> float:  # noqa: PLR0911 - one return a dimension
    """Read a quantity as a number of a metric's ``unit``; raise UnitError when it is of another dimension.

    A metric that counts (frames, packets) or has no unit takes a plain number.
    """
    if unit in _SECONDS:
        return Duration.parse(text).ns * 1e-9 / _SECONDS[unit]
    if unit in _BITS:
        return Bitrate.parse(text).bits_per_second / _BITS[unit]
    if unit in _BYTES:
        return DataSize.parse(text).bytes / _BYTES[unit]
    if unit in {"fraction", "probability", "ratio"}:
        return Probability.parse(text).value
    if unit == "%":
        return Percent.parse(text).value
    if unit == "ppm":
        return Probability.parse(text).value * 1e6
    number = text.removesuffix(unit).strip() if unit else text
    try:
        return float(number)
    except ValueError:
        wanted = f"a number of {unit}" if unit else "a plain number"
        raise UnitError(f"'{text}' is not {wanted}") from None


def expectation_problems(tree: Node) -> Iterator[Problem]:
    """Yield what the models cannot see: metrics that do not exist, values of another dimension."""
    for node in tree.mapping["expect"].items if "expect" in tree.mapping else []:
        at = node.at
        try:
            expectation = Expectation.model_validate(node.plain())
        except ValidationError:
            continue  # said by the model that holds it
        definition = METRICS.get(expectation.metric)
        if definition is None:
            hint = did_you_mean(
                expectation.metric, METRICS, otherwise="'harness schema --metrics' lists them"
            )
            yield Problem(at, f"there is no metric '{expectation.metric}'", hint)
            continue
        try:
            parse_value(expectation.value, definition.unit)
        except UnitError as error:
            yield Problem(
                at, f"{expectation.metric} is in {definition.unit or 'no unit'}: {error.cause}", error.hint
            )


def check(expectation: Expectation, metrics: Mapping[str, Metric]) -> Check:
    """Compare one expectation with what was measured. A metric that is absent fails: nothing was shown."""
    metric = metrics.get(expectation.metric)
    if metric is None or metric.value is None:
        return Check(
            name=str(expectation),
            passed=False,
            expected=f"{expectation.op} {expectation.value}",
            measured="not measured",
        )
    wanted = parse_value(expectation.value, metric.unit)
    return Check(
        name=str(expectation),
        passed=_OPERATORS[expectation.op](metric.value, wanted),
        expected=f"{expectation.op} {expectation.value}",
        measured=show(metric),
    )


def show(metric: Metric) -> str:
    """Write a figure with its unit and interval: ``11.8 ms (11.2 … 12.6, n = 600)``."""
    if metric.value is None:
        return "not measured"
    text = f"{metric.value:.6g} {metric.unit}".rstrip()
    notes = []
    if metric.interval is not None:
        notes.append(f"{metric.interval[0]:.4g} … {metric.interval[1]:.4g}")
    if metric.n is not None:
        notes.append(f"n = {metric.n}")
    return f"{text} ({', '.join(notes)})" if notes else text
