"""The generated page is committed as it is generated; the scenarios that the guides show are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.docs.scenario_page import PAGE, page
from harness.scenario.expand import expand
from harness.scenario.model import Scenario
from harness.scenario.validation import known_keys

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_page_is_generated_from_the_models() -> None:
    committed = (ROOT / PAGE).read_text(encoding="utf-8")
    assert committed == page(), f"python -m harness schema --page --out {PAGE}"


def test_the_reference_names_every_key() -> None:
    text = page()
    assert all(f"| `{key}` |" in text for key in known_keys(Scenario))


def yaml_blocks(guide: str) -> list[str]:
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("guide", ["how-to/write-a-scenario.md", "tutorial/first-sweep.md"])
def test_what_a_guide_shows_is_a_scenario_that_expands(guide: str, tmp_path: Path) -> None:
    blocks = [block for block in yaml_blocks(guide) if not block.startswith(" ")]
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"block-{number}.yaml"
        text = block.replace("extends: jitter.yaml", f"extends: {ROOT}/scenarios/jitter.yaml")
        path.write_text(text, encoding="utf-8")
        assert expand(path).cases
