"""From a scenario file to its cases: extend, layer, vary, validate.

``extends`` and ``layers`` merge as RFC 7396 does: mappings merge key by key, ``null`` removes a key, anything
else replaces. ``for`` names axes; ``${axis}`` stands for the axis's value, alone or inside a text. An axis
whose values are mappings moves several names together, one row a value; its first name labels the case.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.scenario.diagnostics import Problem, did_you_mean, scenario_error
from harness.scenario.document import Node, Scalar, merge, parse
from harness.scenario.expectations import expectation_problems
from harness.scenario.model import (
    AXIS_NAME,
    LAYER_NAME,
    MAX_NAME_CHARACTERS,
    SESSION_KEYS,
    Layer,
    Scenario,
    Session,
)
from harness.scenario.validation import known_keys, problems_of
from punktfunk.printable import printable

MAX_CASES = 20_000
"""A matrix that is larger than this is taken for a mistake."""
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_VARIED_KEYS = ("description", "for", "repeats")


@dataclass(frozen=True, slots=True)
class Case:
    """One point of a scenario's matrix, one repeat of it: everything that is needed to run it again."""

    id: str
    """Unique in its run and safe as a folder name: ``loss-sweep.matrix.loss=2,fec=20``."""
    scenario: str
    spec: Session
    seed: int
    """Derived from the scenario's seed, the case's parameters and its repeat: a new value moves no other. An axis that
    chooses the protocol is no such parameter: two wires meet the same losses."""
    params: dict[str, Any] = field(default_factory=dict)
    """The matrix values as they were written, by axis; of an axis of rows its first name."""
    layer: str = ""
    repeat: int = 0
    file: str = ""
    """The scenario's path as it was given, for the command that replays this case."""
    run_seed: int | None = None
    """The seed that was given instead of the scenario's own; None when none was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario that is ready to run."""

    name: str
    description: str
    file: str
    seed: int
    layers: dict[str, str]
    """Descriptions of the layers by name; one entry "" for a scenario without layers."""
    cases: tuple[Case, ...]


def expand(path: Path, *, seed: int | None = None) -> Plan:
    """Read a scenario and return its cases; raise ScenarioError that shows everything that is wrong with it.

    ``seed`` replaces the scenario's own.
    """
    problems: list[Problem] = []
    root = _with_bases(path, (), problems)
    if root is None:
        raise scenario_error(problems)
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
    cases: list[Case] = []
    for layer_name, tree in (
        {n: merge(base, layer) for n, layer in layers.items()}.items() if layers else [("", base)]
    ):
        cases += _layer_cases(tree, name, layer_name, seed, str(path), problems)
    if problems:
        raise scenario_error(problems)
    return Plan(
        name=name,
        description=head.description,
        file=str(path),
        seed=seed,
        layers={n: str(_text(layer, "description")) for n, layer in layers.items()} or {"": head.description},
        cases=tuple(replace(case, run_seed=run_seed) for case in cases),
    )


def case_seed(seed: int, scenario: str, layer: str, params: dict[str, Any], repeat: int) -> int:
    """Return a case's seed, below 2^53 so that every JSON reader keeps it exact."""
    text = json.dumps(
        [seed, scenario, layer, sorted(params.items()), repeat], separators=(",", ":"), default=str
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11


def slug(value: Scalar) -> str:
    """Write an axis value so that it can stand in a folder's name: ``2 %`` gives ``2``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return re.sub(r"[^A-Za-z0-9._+-]+", "", str(value).replace("%", "")) or "x"


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


def _layer_cases(  # noqa: PLR0917 - one argument for each coordinate of a case
    tree: Node, scenario: str, layer: str, seed: int, file: str, problems: list[Problem]
) -> list[Case]:
    before = len(problems)
    axes = _axes(tree, problems)
    body = _subtree(tree, SESSION_KEYS)
    _check_references(body, axes, tree, problems)
    try:
        repeats = Layer.model_validate(_subtree(tree, ("description", "repeats")).plain()).repeats
    except ValidationError as error:
        problems += problems_of(error, Layer, tree)
        repeats = 1
    total = repeats
    for rows in axes.values():
        total *= len(rows)
    if total > MAX_CASES:
        at = tree.mapping["for"].key_at if "for" in tree.mapping else None
        problems.append(Problem(at or tree.at, f"the matrix has {total} cases; at most {MAX_CASES} are run"))
    if len(problems) > before:
        return []
    cases = []
    wires = _wire_axes(body, axes)
    for point in itertools.product(*axes.values()):
        names: dict[str, Node] = {name: node for row in point for name, node in row.items()}
        varied = _substitute(body, names)
        try:
            spec = Session.model_validate(varied.plain())
        except ValidationError as error:
            problems += problems_of(error, Session, varied)
            problems += expectation_problems(varied)
            continue
        problems += _semantic_problems(spec, varied)
        # A row is known by its first name: what else it sets follows from that and is no axis of a table.
        labels = [next(iter(row.items())) for row in point]
        params = {name: node.value for name, node in labels}
        drawn = {name: value for name, value in params.items() if name not in wires}
        label = ",".join(f"{name}={slug(_scalar(node))}" for name, node in labels)
        for repeat in range(repeats):
            parts = [scenario, layer, label + (f",repeat={repeat}" if repeats > 1 else "")]
            cases.append(
                Case(
                    id=_folder_name(".".join(part.strip(",") for part in parts if part)),
                    scenario=scenario,
                    spec=spec,
                    seed=case_seed(seed, scenario, layer, drawn, repeat),
                    params=params,
                    layer=layer,
                    repeat=repeat,
                    file=file,
                )
            )
    return cases


def _wire_axes(body: Node, axes: dict[str, list[dict[str, Node]]]) -> set[str]:
    """Return the names by which cases are told apart that choose nothing but their protocol."""
    if "protocol" not in body.mapping:
        return set()
    named = set(_REFERENCE.findall(body.mapping["protocol"].text))
    return {next(iter(rows[0])) for rows in axes.values() if rows[0].keys() <= named}


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
        label = slug(_scalar(next(iter(row.values()))))
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
        for match in _REFERENCE.finditer(node.value):
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


def _substitute(node: Node, names: dict[str, Node]) -> Node:
    if isinstance(node.value, dict):
        value: Any = {key: _substitute(child, names) for key, child in node.value.items()}
    elif isinstance(node.value, list):
        value = [_substitute(child, names) for child in node.value]
    elif isinstance(node.value, str) and "${" in node.value:
        whole = _REFERENCE.fullmatch(node.value.strip())
        if whole:
            found = copy.copy(names[whole[1]])
            found.key_at = node.key_at
            return found
        value = _REFERENCE.sub(lambda match: names[match[1]].text, node.value)
    else:
        return node
    changed = copy.copy(node)
    changed.value = value
    return changed


def _semantic_problems(spec: Session, tree: Node) -> Iterator[Problem]:
    """What the models cannot see: how parts that are each right go together."""
    end = spec.media.duration_ns
    for index, event in enumerate(spec.events):
        if event.at.ns >= end:
            at = tree.find(("events", index, "at")).at
            yield Problem(at, f"the event is at {event.at}, the stream ends after {end / 1e9:g} s")
    yield from expectation_problems(tree)


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


def _folder_name(name: str) -> str:
    """Keep a name below what file systems take (255 bytes), unique by a hash of the whole."""
    if len(name) <= 160:
        return name
    return f"{name[:140]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
