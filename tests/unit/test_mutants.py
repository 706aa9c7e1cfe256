"""Planted bugs: the rooms name what is there, accepted mutants are found by their text, and scores count right."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from pathlib import Path

import pytest

from tests.mutants import mutant, python_tool, rooms, running, rust_tool
from tests.mutants.__main__ import arguments
from tests.mutants.mutant import Accepted, Mutant, Outcome

ENTRY = Accepted("a.py", "Box.fits", "if n < self.limit:", "if n <= self.limit:", "n is never the limit")


def planted(
    outcome: Outcome = Outcome.SURVIVED, *, line: int = 7, after: str = "if n <= self.limit:"
) -> Mutant:
    return Mutant("box", "a.py", line, "Box.fits", "if n < self.limit:", after, outcome)


@pytest.mark.parametrize("room", rooms.load(), ids=lambda room: room.name)
def test_every_room_has_sources_and_tests_that_are_there(room: rooms.Room) -> None:
    for source in room.sources:
        assert rooms.Room(room.name, room.language, (source,), ()).files(), source
    for test in room.tests:
        place = Path(test) if room.language == "python" else rooms.CORE / "tests" / f"{test}.rs"
        assert test == "lib" or (rooms.ROOT / place).is_file(), test


def test_the_rooms_where_a_bug_costs_most_are_there() -> None:
    wanted = (
        "sessions reassembly replay crypto link-model fec theory judge verdict pairing trust admission gate "
        "control-messages"
    )
    assert set(wanted.split()) <= {room.name for room in rooms.load()}
    with pytest.raises(SystemExit, match="no room attic"):
        rooms.load(["theory", "attic"])


def test_every_accepted_mutant_speaks_of_a_line_that_its_file_still_has() -> None:
    for entry in mutant.accepted():
        text = mutant.squeeze((rooms.ROOT / entry.file).read_text())
        assert mutant.squeeze(entry.before) in text, entry
        assert entry.function.rpartition(".")[2].rpartition("::")[2].partition("<")[0] in text, entry


def test_an_accepted_mutant_is_found_wherever_its_line_went_and_lost_when_it_changed() -> None:
    score, left = mutant.judge([planted(line=7), planted(line=900)], [ENTRY])
    assert (score.accepted, score.survived, left) == (2, 0, [])
    score, left = mutant.judge([planted(after="if n > self.limit:")], [ENTRY])
    assert (score.accepted, score.survived, len(left)) == (0, 1, 1)


def test_an_entry_that_matches_nothing_or_is_caught_by_now_is_told() -> None:
    assert mutant.stale([ENTRY], [planted()]) == []
    assert "there is no mutant" in mutant.stale([ENTRY], [planted(after="other")])[0]
    assert "is caught" in mutant.stale([ENTRY], [planted(Outcome.CAUGHT)])[0]
    # The same text twice in one function: one of them caught, the other still needs the entry.
    assert mutant.stale([ENTRY], [planted(Outcome.CAUGHT), planted(line=8)]) == []
    assert mutant.stale([ENTRY], [Mutant("b", "b.py", 1, "f", "x", "y")]) == []


def test_the_score_is_of_what_was_judged() -> None:
    outcomes = [Outcome.CAUGHT] * 3 + [Outcome.SURVIVED, Outcome.UNTESTED, Outcome.UNVIABLE, Outcome.NOT_RUN]
    score, left = mutant.judge([planted(o, line=n) for n, o in enumerate(outcomes)], [])
    assert (score.caught, score.survived, score.not_run, len(left)) == (3, 2, 1, 2)
    assert score.percent == 60.0
    assert mutant.judge([], [])[0].percent is None


def test_an_accepted_mutant_needs_a_reason(tmp_path: Path) -> None:
    listed = tmp_path / "accepted.toml"
    entry = '[[accepted]]\nfile = "a.py"\nfunction = "f"\nbefore = "x"\nafter = "y"\nreason = "{}"\n'
    listed.write_text(entry.format("why"))
    assert [e.reason for e in mutant.accepted(listed)] == ["why"]
    listed.write_text(entry.format(" "))
    with pytest.raises(ValueError, match="no reason"):
        mutant.accepted(listed)


@pytest.mark.parametrize(
    ("original", "mutated", "expected"),
    [
        (
            "def a(n):|  x = 1|  return n < x",
            "def b(n):|  x = 1|  return n <= x",
            (2, "return n < x", "return n <= x"),
        ),
        ("def a(n=1):|  return n", "def b(n=2):|  return n", (0, "def(n=1):", "def(n=2):")),
        ("def a():|  f(|   1,|   2,|  )", "def b():|  f(|   1,|   )", (3, "2, )", ")")),
    ],
)
def test_a_change_is_named_by_its_text_and_not_by_the_mutants_number(
    original: str, mutated: str, expected: tuple[int, str, str]
) -> None:
    assert python_tool._change(original.split("|"), mutated.split("|")) == expected


@pytest.mark.parametrize(
    ("code", "cut", "outcome"),
    [
        (0, False, Outcome.SURVIVED),
        (1, False, Outcome.CAUGHT),
        (-24, False, Outcome.CAUGHT),
        (33, False, Outcome.UNTESTED),
        (None, False, Outcome.NOT_RUN),
        (2, False, Outcome.CAUGHT),
        (2, True, Outcome.NOT_RUN),
    ],
)
def test_what_the_deadline_cut_off_is_not_called_caught(
    code: int | None, cut: bool, outcome: Outcome
) -> None:
    assert python_tool._outcome(code, cut) is outcome


def test_shards_are_parts_counted_from_one() -> None:
    parse = arguments().parse_args
    assert parse(["--shard", "2/4"]).shard == (2, 4)
    for wrong in ("0/4", "5/4", "1", "a/b"):
        with pytest.raises(SystemExit):
            parse(["--shard", wrong])
    command = rust_tool._command(rooms.load(["replay"])[0], (1, 4))
    assert command[command.index("--shard") + 1] == "0/4"


def test_a_budget_is_shared_by_the_rooms_that_are_left() -> None:
    assert rust_tool.spread(None, 3) is None
    now = time.monotonic()
    share = rust_tool.spread(now + 3000, 3)
    assert share is not None
    assert 999 < share - now < 1001
    assert rust_tool.spread(now - 5, 2) == pytest.approx(time.monotonic(), abs=5)


def test_a_tool_that_meets_its_deadline_is_interrupted_and_leaves_no_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    )
    # The last two are for a machine on which Python takes longer to start.
    for patience_s in (2, 10, 30):
        deadline = time.monotonic() + patience_s
        assert running.run([sys.executable, "-c", child], cwd=tmp_path, log=log, deadline=deadline) is None
        if log.read_text():
            break
    with contextlib.suppress(ProcessLookupError):  # gone already
        left = os.pidfd_open(int(log.read_text().split()[0]))
        gone, _, _ = select.select([left], [], [], 60)
        os.close(left)
        assert gone, "a child of the tool lives on"
    assert running.run(["false"], cwd=tmp_path, log=log, deadline=None) == 1
