"""What the README shows of the loss sweep is what the committed scenario makes; what changes is not shown."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from harness.scenario.expand import expand

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^(loss-sweep\.[\w-]+)\s+sim\s+\S+\s+(\d+)\s+(\d+)\s+·\s+·\s+·\s+(\d+)$", re.MULTILINE)


def test_the_sample_has_the_simulated_layers_of_the_sweep_with_their_cases_and_frames() -> None:
    cases = [
        case for case in expand(ROOT / "scenarios/loss-sweep.yaml").cases if case.spec.link.backend == "sim"
    ]
    counts = Counter(f"loss-sweep.{case.layer}" for case in cases)
    frames: Counter[str] = Counter()
    for case in cases:
        frames[f"loss-sweep.{case.layer}"] += case.spec.media.frame_count * case.spec.seeds
    shown = {
        name: (int(number), int(passed), int(total)) for name, number, passed, total in ROW.findall(README)
    }
    assert shown == {name: (counts[name], counts[name], frames[name]) for name in counts}


def test_no_digest_of_the_code_s_behaviour_is_shown_that_the_next_change_makes_wrong() -> None:
    [line] = [line for line in README.splitlines() if line.startswith("digest of the simulated cases:")]
    assert not re.search(r"[0-9a-f]{8}", line)


def test_every_decision_is_headed_with_the_number_of_its_file() -> None:
    for file in sorted((ROOT / "docs/adr").glob("*.md")):
        heading = file.read_text(encoding="utf-8").splitlines()[0]
        number = re.match(r"# (\d+)(\.| ·) ", heading)
        assert number is not None, file.name
        assert int(number[1]) == int(file.name[:4]), file.name


def test_the_rooms_of_the_architecture_are_the_packages_that_there_are() -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    rooms = set(re.findall(r"`((?:punktfunk|harness)/\w+)`", rows))
    packages = {
        f"{top}/{path.parent.name}"
        for top in ("punktfunk", "harness")
        for path in (ROOT / top).glob("*/__init__.py")
    }
    assert rooms == packages
    arrows = page.partition("Arrows go ")[2].partition("\n\n")[0]
    assert {package.partition("/")[2] for package in packages} <= set(re.findall(r"\w+", arrows))
