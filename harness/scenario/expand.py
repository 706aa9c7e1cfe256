"""From a scenario file to its cases: extend, layer, vary, validate.

``extends`` and ``layers`` merge as RFC 7396 does: mappings merge key by key, ``null`` removes a key, anything
else replaces. ``for`` names axes; ``${axis}`` stands for the axis's value, alone or inside a text. An axis
whose values are mappings moves several names together, one row a value; its first name labels the case.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from harness.scenario.case import Case, case_seed, label_of, slug
from harness.scenario.diagnostics import Problem, did_you_mean, scenario_error
from harness.scenario.document import Node, Scalar, merge, parse
from harness.scenario.matrix import REFERENCE, Cases, LayerCases
from harness.scenario.model import (
    AXIS_NAME,
    LAYER_NAME,
    MAX_NAME_CHARACTERS,
    SESSION_KEYS,
    Layer,
    Scenario,
)
from harness.scenario.validation import known_keys, problems_of
from punktfunk.errors import UsageError
from punktfunk.printable import printable

__all__ = ["MAX_CASES", "Case", "Cases", "Plan", "case_seed", "expand", "slug"]

MAX_CASES = 1_000_000
"""A matrix that is larger than this is taken for a mistake."""
Axes: TypeAlias = Mapping[str, tuple[str, ...]]
"""Values of axes by their names, as they would stand in a file."""
_VARIED_KEYS = ("description", "for", "repeats")


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario that is ready to run."""

    name: str
    description: str
    file: str
    seed: int
    layers: dict[str, str]
    """Descriptions of the layers by name; one entry "" for a scenario without layers."""
    cases: Cases


def expand(path: Path, *, seed: int | None = None, axes: Axes | None = None) -> Plan:
    """Read a scenario and return its cases; raise ScenarioError that shows everything that is wrong with it.

    ``seed`` and the values of ``axes``, by name, replace the scenario's own; UsageError where it has no such axis.
    """
    problems: list[Problem] = []
    root = _with_bases(path, (), problems)
    if root is None:
        raise scenario_error(problems)
    root = _with_axes(root, axes or {})
    known = [*known_keys(Scenario)]
    problems += _unknown(root, known, "")
    head = _head(root, problems)
    base = _subtree(root, (*SESSION_KEYS, *_VARIED_KEYS))
    layers = root.mapping["layers"].mapping if "layers" in root.mapping else {}
    if "layers" in root.mapping and not layers:
        problems.append(
            Problem(root.mapping["layers"].at, "layers is empty", "name at least one, or leave it out")
        )
    for name, layer in layers.items():
        if len(name) > MAX_NAME_CHARACTERS or not LAYER_NAME.fullmatch(name):
            at = layer.key_at or layer.at
            hint = f"use a-z, 0-9 and -, at most {MAX_NAME_CHARACTERS}: it becomes part of a folder's name"
            problems.append(
                Problem(at, f"'{printable(name, MAX_NAME_CHARACTERS)}' cannot name a layer", hint)
            )
        problems += _unknown(layer, known_keys(Layer), f" in layer '{name}'")
    if problems or head is None:
        raise scenario_error(problems)
    name = head.name or re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "scenario"
    run_seed, seed = seed, head.seed if seed is None else seed
    found = [
        _layer_cases(
            tree,
            problems,
            scenario=name,
            layer=layer_name,
            seed=seed,
            run_seed=run_seed,
            file=str(path),
            given=tuple((axes or {}).items()),
        )
        for layer_name, tree in (
            {n: merge(base, layer) for n, layer in layers.items()}.items() if layers else [("", base)]
        )
    ]
    if problems:
        raise scenario_error(problems)
    return Plan(
        name=name,
        description=head.description,
        file=str(path),
        seed=seed,
        layers={n: str(_text(layer, "description")) for n, layer in layers.items()} or {"": head.description},
        cases=Cases([cases for cases in found if cases is not None]),
    )


def _with_axes(root: Node, axes: Axes) -> Node:
    """Give axes of a file other values, as if they stood there."""
    if not axes:
        return root
    written = root.mapping["for"] if "for" in root.mapping else Node(root.at, {})
    unknown = next((name for name in axes if name not in written.mapping), None)
    if unknown is not None:
        names = list(written.mapping)
        hint = did_you_mean(unknown, names, otherwise=f"axes there: {', '.join(names) or 'none'}")
        raise UsageError(f"{root.at.file} has no axis '{printable(unknown, MAX_NAME_CHARACTERS)}'", hint)
    changed, fresh = copy.copy(root), copy.copy(written)
    rows = {
        name: replace(written.mapping[name], value=[Node(written.at, text, text=text) for text in texts])
        for name, texts in axes.items()
    }
    fresh.value = written.mapping | rows
    changed.value = root.mapping | {"for": fresh}
    return changed


def _with_bases(path: Path, chain: tuple[Path, ...], problems: list[Problem]) -> Node | None:
    """Read a file and, below it, the files that it extends."""
    node = parse(path, problems)
    if node is None or "extends" not in node.mapping:
        return node
    extends = node.mapping["extends"]
    if not isinstance(extends.value, str):
        problems.append(Problem(extends.at, "extends wants the path of another scenario"))
        return node
    base_path = path.parent / extends.value
    chain = (*chain, path.resolve())
    try:
        found, base_at = base_path.is_file(), base_path.resolve()
    except (OSError, ValueError):  # no name of a file: too long, or with characters that no file has
        found, base_at = False, base_path
    if base_at in chain:
        names = [p.name for p in chain[chain.index(base_at) :]]
        circle = " -> ".join([*names, names[0]])
        problems.append(Problem(extends.at, f"extends goes in a circle: {circle}", "break it at one of them"))
        return node
    if not found:
        beside = [p.name for p in path.parent.glob("*.yaml")]
        hint = did_you_mean(extends.value, beside, otherwise="the path is taken from this file's folder")
        problems.append(Problem(extends.at, f"there is no file '{extends.value}'", hint))
        return node
    base = _with_bases(base_path, chain, problems)
    # A scenario is not called, described or counted as the one that it extends.
    return merge(_without(base, ("name", "extends")), node) if base else node


def _unknown(node: Node, known: list[str], inside: str) -> Iterator[Problem]:
    if not isinstance(node.value, dict):
        yield Problem(node.at, f"{inside.removeprefix(' in ')} is not a mapping of keys to values".strip())
        return
    for key, child in node.mapping.items():
        if key not in known:
            hint = did_you_mean(key, known, otherwise=f"known keys: {', '.join(known)}")
            yield Problem(child.key_at or child.at, f"unknown key '{key}'{inside}", hint)


def _head(root: Node, problems: list[Problem]) -> Scenario | None:
    tree = _subtree(root, ("schema_version", "name", "description", "seed"))
    try:
        return Scenario.model_validate(tree.plain())
    except ValidationError as error:
        problems += problems_of(error, Scenario, root)
        return None


def _layer_cases(
    tree: Node,
    problems: list[Problem],
    *,
    scenario: str,
    layer: str,
    seed: int,
    run_seed: int | None,
    file: str,
    given: tuple[tuple[str, tuple[str, ...]], ...],
) -> LayerCases | None:
    """Return the cases of one layer; add what is wrong with it to ``problems`` and return None."""
    before = len(problems)
    axes = _axes(tree, problems)
    body = _subtree(tree, SESSION_KEYS)
    _check_references(body, axes, tree, problems)
    try:
        repeats = Layer.model_validate(_subtree(tree, ("description", "repeats")).plain()).repeats
    except ValidationError as error:
        problems += problems_of(error, Layer, tree)
        repeats = 1
    total = repeats * math.prod(len(rows) for rows in axes.values())
    if total > MAX_CASES:
        at = tree.mapping["for"].key_at if "for" in tree.mapping else None
        problems.append(Problem(at or tree.at, f"the matrix has {total} cases; at most {MAX_CASES} are run"))
    if len(problems) > before:
        return None
    cases = LayerCases(
        body,
        axes,
        repeats=repeats,
        scenario=scenario,
        layer=layer,
        seed=seed,
        file=file,
        run_seed=run_seed,
        given=given,
    )
    problems += cases.check()
    return cases


def _axes(tree: Node, problems: list[Problem]) -> dict[str, list[dict[str, Node]]]:
    """Return every axis as rows of name -> value; an axis of scalars has rows of one name, its own."""
    axes: dict[str, list[dict[str, Node]]] = {}
    if "for" not in tree.mapping:
        return axes
    node = tree.mapping["for"]
    if not isinstance(node.value, dict):
        problems.append(
            Problem(node.at, "for wants a mapping of axis names to lists", "such as {loss: [0 %, 2 %]}")
        )
        return axes
    taken: dict[str, str] = {}
    for name, values in node.mapping.items():
        if len(name) > MAX_NAME_CHARACTERS or not AXIS_NAME.fullmatch(name):
            problems.append(
                Problem(values.key_at or values.at, f"'{name}' cannot name an axis", "use a-z, 0-9 and _")
            )
            continue
        if not isinstance(values.value, list):
            problems.append(Problem(values.at, f"axis '{name}' wants a list", "such as [0 %, 1 %, 2 %]"))
            continue
        if not values.items:
            problems.append(Problem(values.at, f"axis '{name}' has no values, so the matrix is empty"))
            continue
        rows = _rows(name, values, problems)
        for member in rows[0] if rows else ():
            if member in taken:
                at = values.key_at or values.at
                problems.append(Problem(at, f"'{member}' is set by the axes '{taken[member]}' and '{name}'"))
            taken[member] = name
        if rows:
            axes[name] = rows
    return axes


def _rows(name: str, values: Node, problems: list[Problem]) -> list[dict[str, Node]]:
    rows: list[dict[str, Node]] = []
    labels: set[str] = set()
    for value in values.items:
        row = value.mapping if isinstance(value.value, dict) else {name: value}
        if not row or any(isinstance(node.value, dict | list) for node in row.values()):
            problems.append(
                Problem(value.at, f"axis '{name}' wants plain values, or mappings of plain values")
            )
            return []
        if rows and row.keys() != rows[0].keys():
            wanted = ", ".join(rows[0])
            problems.append(
                Problem(value.at, f"every value of axis '{name}' sets the same names", f"here {wanted}")
            )
            return []
        label = slug(label_of(_scalar(next(iter(row.values())))))
        if label in labels:
            problems.append(Problem(value.at, f"axis '{name}' has this value twice"))
        labels.add(label)
        rows.append(row)
    return rows


def _check_references(
    body: Node, axes: dict[str, list[dict[str, Node]]], tree: Node, problems: list[Problem]
) -> None:
    """Every ``${name}`` is set by an axis, and every axis is used: neither can be mistyped unnoticed."""
    names = [member for rows in axes.values() for member in rows[0]]
    used: set[str] = set()
    written = set(tree.mapping["for"].mapping) if "for" in tree.mapping else set()
    for node in body.scalars():
        if not isinstance(node.value, str):
            continue
        for match in REFERENCE.finditer(node.value):
            used.add(match[1])
            if match[1] in written - set(names):
                continue  # the axis itself is wrong, which is said where it stands
            if match[1] not in names:
                quoted = 1 if node.at.width > len(node.text) else 0
                at = node.at.shifted(match.start() + quoted, len(match[0]))
                fallback = f"axes here: {', '.join(names)}" if names else "there is no 'for:' here"
                hint = did_you_mean(match[1], names, otherwise=fallback)
                used.update(name for name in names if f"'{name}'" in hint)
                problems.append(Problem(at, f"'${{{match[1]}}}' is not set by any axis", hint))
    for name, rows in axes.items():
        if not used & set(rows[0]):
            node = tree.mapping["for"].mapping[name]
            problems.append(
                Problem(
                    node.key_at or node.at,
                    f"axis '{name}' is not used",
                    f"write ${{{next(iter(rows[0]))}}} where it goes",
                )
            )


def _subtree(node: Node, keys: Sequence[str]) -> Node:
    part = copy.copy(node)
    part.value = {key: child for key, child in node.mapping.items() if key in keys}
    return part


def _without(node: Node, keys: Sequence[str]) -> Node:
    return _subtree(node, [key for key in node.mapping if key not in keys])


def _text(node: Node, key: str) -> str:
    return node.mapping[key].text if key in node.mapping else ""


def _scalar(node: Node) -> Scalar:
    return node.value if not isinstance(node.value, dict | list) else None
