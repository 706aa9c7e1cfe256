"""The committed JSON schema is what the models say, and it agrees with them about every scenario."""

from __future__ import annotations

import functools
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from harness.docs.schema import FIRST_LINE, SCHEMA_FILE, scenario_schema, schema_text

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
SHIPPED = sorted(SCENARIOS.glob("*.yaml"))
WRONG = Path(__file__).parent / "wrong"


def load(path: Path) -> object:
    return YAML(typ="safe", pure=True).load(path)


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    schema = scenario_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_generated_from_the_models() -> None:
    committed = (SCENARIOS / SCHEMA_FILE).read_text(encoding="utf-8")
    assert committed == schema_text(), "python -m harness schema --out scenarios/scenario.schema.json"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_scenario_points_editors_at_the_schema_and_satisfies_it(file: Path) -> None:
    assert file.read_text(encoding="utf-8").splitlines()[0] == FIRST_LINE
    validator().validate(load(file))


@pytest.mark.parametrize(
    "name",
    [
        "unknown_key",
        "bad_unit",
        "bad_range",
        "wrong_type",
        "wrong_choice",
        "layer_key",
        "empty_matrix",
        "protocols",
    ],
)
def test_an_editor_sees_what_the_harness_would_refuse(name: str) -> None:
    assert not validator().is_valid(load(WRONG / f"{name}.yaml"))
