"""Scenario files become cases: extends, layers, axes, seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run.store import spec_text
from harness.scenario.expand import Case, expand
from harness.scenario.link import Backend
from harness.scenario.protocols import PROTOCOLS, WireProtocol
from punktfunk.errors import ScenarioError
from punktfunk.units import Bitrate, Duration


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def cases(folder: Path, text: str, *, seed: int | None = None) -> tuple[Case, ...]:
    return expand(write(folder, "scenario.yaml", text), seed=seed).cases


def test_a_file_without_a_matrix_is_one_case_that_is_named_after_it(tmp_path: Path) -> None:
    plan = expand(write(tmp_path, "Quick look.yaml", "media: {frames: 3}\n"))
    assert [case.id for case in plan.cases] == ["quick-look"]
    assert plan.cases[0].spec.media.frame_count == 3


def test_axes_multiply_in_the_order_in_which_they_are_written(tmp_path: Path) -> None:
    found = cases(
        tmp_path,
        """
name: m
for:
  scheme: [gf8, gf16]
  loss: [0 %, 2.5 %]
stream: {scheme: "${scheme}", block: 64}
link: {backend: sim, down: {loss: "${loss}"}}
""",
    )
    assert [case.id for case in found] == [
        "m.scheme=gf8,loss=0",
        "m.scheme=gf8,loss=2.5",
        "m.scheme=gf16,loss=0",
        "m.scheme=gf16,loss=2.5",
    ]
    assert found[3].spec.stream.scheme == "gf16"
    assert found[3].spec.link.down.loss is not None
    assert found[3].spec.link.down.loss.core() == {"kind": "independent", "p": 0.025}
    assert found[3].params == {"scheme": "gf16", "loss": "2.5 %"}


def test_an_axis_of_mappings_moves_its_names_together(tmp_path: Path) -> None:
    found = cases(
        tmp_path,
        """
name: m
for:
  point:
    - {every: none, intact: 50}
    - {every: 4, intact: 0}
media: {frames: 50}
link: {backend: sim, down: {loss: {every: "${every}"}}}
expect: ["frames_intact == ${intact}"]
""",
    )
    assert [case.id for case in found] == ["m.every=none", "m.every=4"]
    assert [str(case.spec.expect[0]) for case in found] == ["frames_intact == 50", "frames_intact == 0"]
    assert [case.spec.link.down.core()["loss"]["kind"] for case in found] == ["none", "periodic"]


def test_a_reference_inside_a_text_keeps_the_rest_of_it(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, 'for: {n: [7]}\nmedia: {duration: "${n}0 ms"}\n')
    assert case.spec.media.duration == Duration(70_000_000)


def test_extends_merges_mappings_replaces_lists_and_null_removes(tmp_path: Path) -> None:
    write(
        tmp_path,
        "base.yaml",
        """
name: base
media: {frames: 60, bitrate: 5 Mbit/s}
link: {backend: sim, down: {delay: 20 ms, loss: {rate: 2 %, burst: 4}}}
expect: [frames_lost == 0]
""",
    )
    (case,) = cases(
        tmp_path,
        """
extends: base.yaml
media: {bitrate: 8 Mbit/s}
link: {down: {delay: null, loss: {rate: 5 %}}}
expect: [frames_corrupt == 0]
""",
    )
    assert case.scenario == "scenario"
    assert case.spec.media.frames == 60
    assert case.spec.media.bitrate == Bitrate(8_000_000)
    assert "delay_us" not in case.spec.link.down.core()
    assert case.spec.link.down.core()["loss"]["kind"] == "gilbert_elliott"
    assert [str(e) for e in case.spec.expect] == ["frames_corrupt == 0"]


def test_paths_are_taken_from_the_file_that_says_them(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", "trace.csv", "at_ms,rate_kbps\n0,1000\n500,2000\n")
    write(tmp_path / "below", "base.yaml", "link: {backend: sim, down: {trace: trace.csv}}\n")
    (case,) = cases(tmp_path, "extends: below/base.yaml\n")
    assert case.spec.link.down.core()["trace"] == [
        {"at_ms": 0.0, "rate_kbps": 1000},
        {"at_ms": 500.0, "rate_kbps": 2000},
    ]


def test_a_layer_has_a_matrix_of_its_own_over_what_the_file_says(tmp_path: Path) -> None:
    found = cases(
        tmp_path,
        """
name: s
media: {frames: 60}
link: {backend: sim}
layers:
  one:
    for: {loss: [1 %, 2 %]}
    link: {down: {loss: "${loss}"}}
  two:
    repeats: 2
    media: {frames: 5}
""",
    )
    assert [case.id for case in found] == ["s.one.loss=1", "s.one.loss=2", "s.two.repeat=0", "s.two.repeat=1"]
    assert [case.spec.media.frames for case in found] == [60, 60, 5, 5]
    assert all(case.spec.link.backend is Backend.SIM for case in found)


def test_every_repeat_of_a_case_has_a_seed_of_its_own_that_no_other_case_has(tmp_path: Path) -> None:
    text = "name: s\nrepeats: 20\nfor: {loss: [1 %, 2 %]}\nlink: {backend: sim, down: {loss: '${loss}'}}\n"
    found = cases(tmp_path, text)
    seeds = {case.id: case.seed for case in found}
    assert len(set(seeds.values())) == len(found) == 40
    assert all(0 <= seed < 2**53 for seed in seeds.values())
    assert {case.id: case.seed for case in cases(tmp_path, text)} == seeds
    more = {case.id: case.seed for case in cases(tmp_path, text.replace("20", "21"))}
    assert more.items() >= seeds.items(), "another repeat moves no seed of those before"


SHIPPED = Path(__file__).resolve().parents[2] / "scenarios"
MATRIX = "name: s\nfor: {loss: [%s]}\nlink: {backend: sim, down: {loss: '${loss}'}}\n"


def test_a_new_value_moves_no_other_seed(tmp_path: Path) -> None:
    few = {case.id: case.seed for case in cases(tmp_path, MATRIX % "1 %, 2 %")}
    many = {case.id: case.seed for case in cases(tmp_path, MATRIX % "0 %, 1 %, 2 %, 5 %")}
    assert few.items() < many.items()
    assert len(set(many.values())) == 4


def test_the_seed_of_the_command_line_replaces_every_seed(tmp_path: Path) -> None:
    own = [case.seed for case in cases(tmp_path, MATRIX % "1 %, 2 %")]
    other = [case.seed for case in cases(tmp_path, MATRIX % "1 %, 2 %", seed=7)]
    again = [case.seed for case in cases(tmp_path, MATRIX % "1 %, 2 %", seed=7)]
    assert other == again
    assert not set(own) & set(other)
    assert all(0 <= seed < 2**53 for seed in own + other)


def test_a_session_survives_being_written_and_read(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path,
        """
media: {duration: 2 s, frame_bytes: {mean: 40 kB, sd: 4 kB}}
link:
  backend: sim
  down: {rate: 20 Mbit/s, queue_packets: 50, delay: 5 ms, jitter: {spread: 1 ms, reorder: true}, duplicate: 1 %}
events: [{at: 1 s, down: {loss: 10 %}}]
""",
    )
    text = case.spec.model_dump_json(exclude_unset=True)
    assert type(case.spec).model_validate_json(text) == case.spec


def test_a_long_name_is_cut_but_stays_unique_and_a_folder_can_have_it(tmp_path: Path) -> None:
    names = [f"axis_{letter * 20}" for letter in "abcdefg"]
    axes = "\n".join(f"  {name}: [1, 2]" for name in names)
    used = " ".join(f"${{{name}}}" for name in names)
    found = cases(tmp_path, f"for:\n{axes}\nexpect:\n  - frames_lost < {used}\n".replace(" $", "$"))
    assert len({case.id for case in found}) == 128
    assert max(len(case.id) for case in found) < 200


def test_too_many_cases_are_taken_for_a_mistake(tmp_path: Path) -> None:
    values = ", ".join(str(n) for n in range(1, 1002))
    text = f"for: {{a: [{values}], b: [{values}]}}\nmedia: {{frames: '${{a}}'}}\nseeds: ${{b}}\n"
    with pytest.raises(ScenarioError, match="1002001 cases"):
        cases(tmp_path, text)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_scenario_that_ships_expands_and_says_what_it_would_catch(file: Path) -> None:
    plan = expand(file)
    assert plan.name == file.stem
    assert plan.description
    assert "catch" in file.read_text(encoding="utf-8").split("name:")[0]


# --- protocols ----------------------------------------------------------------------------------------------


def test_a_scenario_that_names_no_protocol_speaks_punktfunk_1_and_its_cases_are_those_of_before(
    tmp_path: Path,
) -> None:
    [case] = cases(tmp_path, "media: {frames: 3}\n")
    assert case.spec.protocol == "punktfunk/1"
    assert "protocol" not in spec_text(case), (
        "--resume keeps the results of runs from before there was the key"
    )
    [named] = cases(tmp_path, "protocol: punktfunk/1\nmedia: {frames: 3}\n")
    assert (named.spec.protocol, named.seed) == (case.spec.protocol, case.seed)


def test_a_layer_and_an_axis_choose_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "echo", WireProtocol("echo", host="", client=""))
    found = cases(
        tmp_path,
        """
name: m
protocol: echo
layers:
  inherits: {link: {backend: tun}}
  own: {protocol: punktfunk/1}
  both: {for: {wire: [punktfunk/1, echo]}, protocol: "${wire}"}
""",
    )
    assert {case.id: case.spec.protocol for case in found} == {
        "m.inherits": "echo",
        "m.own": "punktfunk/1",
        "m.both.wire=punktfunk1": "punktfunk/1",
        "m.both.wire=echo": "echo",
    }


def test_two_wires_meet_the_same_losses(tmp_path: Path) -> None:
    found = cases(
        tmp_path,
        """
name: s
for:
  wire: [punktfunk/1, gamestream]
  loss: [1 %, 2 %]
protocol: "${wire}"
link: {backend: sim, down: {loss: "${loss}"}}
""",
    )
    seeds = {(case.spec.protocol, case.params["loss"]): case.seed for case in found}
    assert len(seeds) == len({case.id for case in found}) == 4
    for loss in ("1 %", "2 %"):
        assert seeds["punktfunk/1", loss] == seeds["gamestream", loss]
    # It is that of the scenario without the choice, and an axis that moves more than the wire moves the seed too.
    assert {case.seed for case in cases(tmp_path, MATRIX % "1 %, 2 %")} == set(seeds.values())
    rows = "[{wire: gamestream, p: 1 %}, {wire: punktfunk/1, p: 1 %}]"
    mixed = cases(
        tmp_path,
        f"for: {{wire: {rows}}}\nprotocol: '${{wire}}'\nlink: {{backend: sim, down: {{loss: '${{p}}'}}}}\n",
    )
    assert len({case.seed for case in mixed}) == 2


def test_a_protocol_without_a_simulation_is_refused_where_a_scenario_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, "echo", WireProtocol("echo", host="", client=""))
    with pytest.raises(ScenarioError) as refused:
        cases(tmp_path, "link: {backend: sim}\nprotocol: echo\n")
    assert "scenario.yaml:2:11: protocol: echo has no simulation" in refused.value.cause
    assert "use link.backend: tun, netem or auto" in refused.value.cause
    [elsewhere] = cases(tmp_path, "protocol: echo\n")
    assert elsewhere.spec.sim_obstacle() == ("protocol", "echo has no simulation")
