"""The JSON schema of scenario files, for editors; generated from the models, committed, held by a drift test."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from harness.scenario.frame_sizes import FrameBytes
from harness.scenario.link import Corrupt, Jitter, Loss, Reorder, Trace
from harness.scenario.model import Expectation, Scenario, Session
from punktfunk.units import DataSize, Duration, Probability, Quantity

SCHEMA_FILE = "scenario.schema.json"
"""Name of the committed file, beside the scenarios that point at it."""
FIRST_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
"""First line of every scenario: editors with the YAML language server read it."""

_PROBABILITY = dict(Probability._json_schema)
_SIZE = dict(DataSize._json_schema)
_SHORT_FORMS: dict[type[BaseModel], list[dict[str, Any]]] = {
    Loss: [_PROBABILITY, {"const": "none"}],
    Jitter: [dict(Duration._json_schema)],
    Reorder: [_PROBABILITY],
    Corrupt: [_PROBABILITY],
    Trace: [{"type": "string"}],
    FrameBytes: [_SIZE, {"type": "array", "items": _SIZE, "minItems": 1}],
    Expectation: [{"type": "string", "examples": ["frames_lost == 0", "transport_p99 <= 12 ms"]}],
}
"""What a model also takes instead of a mapping, as its ``before`` validator does."""
_FIXED_KEYS = set(Scenario.model_fields) - set(Session.model_fields) | {"for"}
"""Keys that no axis can set: they say what the axes are."""


class Generator(GenerateJsonSchema):
    """Writes defaults as a file would."""

    def encode_default(self, dft: Any) -> Any:
        """Write defaults as a scenario would: quantities with their unit."""
        return str(dft) if isinstance(dft, Quantity) else super().encode_default(dft)


def scenario_schema() -> dict[str, Any]:
    """Return the schema as a dict that is ready for ``json.dumps``."""
    schema = Scenario.model_json_schema(by_alias=True, schema_generator=Generator)
    defs: dict[str, Any] = schema["$defs"]
    for definition in (*defs.values(), schema):
        for key, value in definition.get("properties", {}).items():
            value.pop("title", None)
            if key not in _FIXED_KEYS:
                definition["properties"][key] = _with_axis(value)
        if "for" in definition.get("properties", {}):
            axes = definition["properties"]["for"]["patternProperties"]
            for axis in axes.values():
                axis["type"] = ["array", "null"]
    # The keyed forms of a loss say its kind by the key that they give.
    defs[Loss.__name__]["required"].remove("kind")
    for model, forms in _SHORT_FORMS.items():
        full = defs[model.__name__]
        defs[model.__name__] = {"description": full.pop("description"), "anyOf": [*forms, full]}
    defs["Axis"] = {
        "description": "The value of an axis that 'for:' names.",
        "type": "string",
        "pattern": r"\$\{[a-z][a-z0-9_]*\}",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "punktfunk scenario",
        **schema,
    }


def schema_text() -> str:
    """Return the schema as the committed file holds it."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


def _with_axis(value: dict[str, Any]) -> dict[str, Any]:
    """Let a value also be an axis, or null, which removes a key of the scenario that is extended."""
    outer: dict[str, Any] = {
        key: value.pop(key) for key in ("description", "default", "examples") if key in value
    }
    choices = value["anyOf"] if set(value) == {"anyOf"} else [value]
    extra: list[dict[str, Any]] = [{"$ref": "#/$defs/Axis"}]
    if {"type": "null"} not in choices:
        extra.append({"type": "null"})
    return {**outer, "anyOf": [*choices, *extra]}
