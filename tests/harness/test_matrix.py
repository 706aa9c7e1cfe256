"""Cases by their number: what is made on demand is what would have been made of the whole matrix."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest

from harness.run.store import spec_text
from harness.scenario import matrix
from harness.scenario.expand import Cases, expand
from harness.scenario.link import Backend
from harness.scenario.model import Session
from harness.scenario.selection import select
from punktfunk.errors import ScenarioError, UsageError

MATRIX = """
name: m
repeats: 2
for:
  scheme: [gf8, gf16]
  point: [{loss: 0 %, frames: 7}, {loss: 2.5 %, frames: 9}]
  burst: [1, 4, 8]
stream: {scheme: "${scheme}", block: 64}
media: {frames: "${frames}"}
link: {backend: sim, down: {delay: 5 ms, loss: {kind: bursty, rate: "${loss}", burst: "${burst}"}}}
expect: ["frames_submitted == ${frames}"]
"""


def cases_of(folder: Path, text: str, name: str = "m.yaml", seed: int | None = None) -> Cases:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return expand(file, seed=seed).cases


def test_a_case_that_is_made_on_demand_is_the_validated_session_of_its_point(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, MATRIX)
    points = itertools.product(
        ("gf8", "gf16"), (("0 %", 7), ("2.5 %", 9)), (1, 4, 8), range(2)
    )  # the last axis fastest, repeats fastest of all
    for case, (scheme, (loss, frames), burst, repeat) in zip(cases, points, strict=True):
        whole = Session.model_validate(
            {
                "stream": {"scheme": scheme, "block": 64},
                "media": {"frames": frames},
                "link": {
                    "backend": "sim",
                    "down": {"delay": "5 ms", "loss": {"kind": "bursty", "rate": loss, "burst": burst}},
                },
                "expect": [f"frames_submitted == {frames}"],
            }
        )
        assert case.spec == whole
        assert case.spec.model_dump(exclude_unset=True) == whole.model_dump(exclude_unset=True)
        assert (case.params, case.repeat) == ({"scheme": scheme, "loss": loss, "burst": burst}, repeat)
    assert len({case.seed for case in cases}) == len(cases) == 24


def test_names_numbers_and_slices_agree(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, MATRIX)
    names = [case.id for case in cases]
    assert list(cases.ids()) == names
    assert [case.id for case in cases[5:8]] == names[5:8]
    assert cases[-1].id == names[-1]
    for beyond in (24, -25):
        with pytest.raises(IndexError):
            cases[beyond]
    some = cases.chosen([3, 20, 4])
    assert [case.id for case in some] == [names[3], names[20], names[4]] == list(some.ids())
    assert [case.id for case in some.chosen([2, 0])] == [names[4], names[3]]
    assert spec_text(some[1]) == spec_text(cases[20])


def test_several_files_are_one_sequence(tmp_path: Path) -> None:
    first = cases_of(tmp_path, MATRIX)
    second = cases_of(tmp_path, MATRIX.replace("name: m", "name: n"), "n.yaml").chosen([1, 23])
    both = first.joined(second)
    assert list(both.ids()) == [*first.ids(), *second.ids()]
    assert both[25].id == second[1].id


def test_a_selection_makes_no_case_and_is_that_of_a_list(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, MATRIX)
    for expression in ("", "gf8 and burst=4", "not loss=2.5"):
        chosen = select(cases, expression)
        assert isinstance(chosen, Cases)
        assert list(chosen.ids()) == [case.id for case in select(list(cases), expression)]
    wanted = [cases[7].id, cases[2].id]
    assert [case.id for case in select(cases, ids=wanted)] == wanted
    with pytest.raises(UsageError, match="there is no case"):
        select(cases, ids=[cases[7].id + "x"])


def test_a_million_cases_are_not_held(tmp_path: Path) -> None:
    values = ", ".join(str(n) for n in range(1, 51))
    text = (
        f"for: {{a: [{values}], b: [{values}]}}\nrepeats: 400\nlink: {{backend: sim}}\n"
        "media: {frames: '${a}'}\nseeds: ${b}\n"
    )
    tracemalloc.start()
    try:
        cases = cases_of(tmp_path, text)
        assert len(cases) == 1_000_000
        found = [cases[number] for number in (0, 999_999, 654_321)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20, "40 bytes a case; a case takes some hundred times that"
    assert [(c.spec.media.frames, c.spec.seeds, c.repeat) for c in found] == [
        (1, 1, 0),
        (50, 50, 399),
        (33, 36, 321),
    ]


WRONG = {
    "stream": ("stream: {scheme: gf8, block: '${a}', fec: '${b} %'}", "gf8 carries at most 255"),
    "expect": ("media: {frames: '${a}'}\nexpect: ['frames_lost == ${b} ms']", "frames_lost is in frames"),
    "events": (
        "media: {duration: '${a}0 ms'}\nevents: [{at: '${b} ms', down: {loss: 1 %}}]",
        "the stream ends after",
    ),
    "sabotage": (
        "stream: {block: '${a}', sabotage: one_recovery_short}\nseeds: ${b}\nlink: {backend: auto}",
        "sabotage wants link.backend: sim",
    ),
}


@pytest.mark.parametrize("checked_whole", [10_000, 1])
@pytest.mark.parametrize("which", WRONG)
def test_a_case_that_cannot_run_is_found_before_any_runs_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checked_whole: int, which: str
) -> None:
    """Of a large matrix not each point is validated: only what can be at odds."""
    monkeypatch.setattr(matrix, "CHECKED_WHOLE", checked_whole)
    body, said = WRONG[which]
    text = f"name: m\nfor: {{a: [1, 2, 200], b: [1, 50], c: [1, 2]}}\n{body}\ntimeout: ${{c}} s\n"
    with pytest.raises(ScenarioError, match=said):
        cases_of(tmp_path, text)


def test_one_mistake_in_every_case_is_not_said_a_thousand_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_MOST_PROBLEMS", 3)
    values = ", ".join(f"{n} parsecs" for n in range(40))
    with pytest.raises(ScenarioError, match="3 problems"):
        cases_of(tmp_path, f"for: {{a: [{values}]}}\nmedia: {{duration: '${{a}}'}}\n")


def test_the_digest_of_cases_names_what_they_do(tmp_path: Path) -> None:
    cases = cases_of(tmp_path, MATRIX)
    same = cases_of(tmp_path, MATRIX, "copy.yaml")
    others = [
        cases_of(tmp_path, MATRIX, "m.yaml", seed=5),
        cases_of(tmp_path, MATRIX.replace("[1, 4, 8]", "[1, 4, 9]")),
        cases_of(tmp_path, MATRIX.replace("5 ms", "6 ms")),
        cases_of(tmp_path, MATRIX.replace("repeats: 2", "repeats: 3")),
        cases.chosen(range(23)),
        cases.chosen([*range(22), 23, 22]),
    ]
    assert cases.digest() == same.digest()
    assert len({cases.digest(), *(other.digest() for other in others)}) == 7


def test_the_links_that_cases_ask_for_are_known_without_making_them(tmp_path: Path) -> None:
    text = 'for: {b: [sim, tun]}\nlink: {backend: "${b}"}\nmedia: {frames: 1}\n'
    assert [layer.backends() for layer in cases_of(tmp_path, text).layers] == [{Backend.SIM, Backend.TUN}]
    assert [layer.backends() for layer in cases_of(tmp_path, "media: {frames: 1}\n").layers] == [
        {Backend.AUTO}
    ]
