"""Plant bugs and see whether the tests notice: ``nox -s mutants -- --minutes 20 --shard 1/4 --rooms theory,judge``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.mutants import python_tool, rust_tool, scratch
from tests.mutants.mutant import Accepted, Mutant, Outcome, Score, accepted, judge, stale
from tests.mutants.rooms import ROOT, Room, load

REPORT = ROOT / "reports" / "mutants.txt"


def _shard(text: str) -> tuple[int, int]:
    number, _, shards = text.partition("/")
    if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard like 1/4")
    return int(number), int(shards)


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="nox -s mutants --", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, help="budget, shared evenly by the rooms (default: all mutants)"
    )
    parser.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="K/N", help="only the K-th of N parts"
    )
    parser.add_argument("--rooms", default="", help="names of rooms.toml, comma-separated (default: all)")
    parser.add_argument("--language", choices=["python", "rust"], help="only rooms of this language")
    parser.add_argument(
        "--at-least", type=float, default=0.0, metavar="PERCENT", help="fail below this score"
    )
    parser.add_argument("--list", action="store_true", help="print the rooms and how many mutants they have")
    return parser


def _run_room(
    room: Room, tree: Path, shard: tuple[int, int], deadline: float | None
) -> tuple[list[Mutant], list[Mutant]]:
    """Return all mutants of the room's shard, and those that had their turn."""
    log = tree.parent / f"{room.name}.log"
    log.unlink(missing_ok=True)
    if room.language == "rust":
        scratch.refresh(tree)
        every = rust_tool.plan(room, tree, shard)
        return every, rust_tool.run(room, tree, shard, deadline, log)
    planned = python_tool.plan(room, tree, shard)
    outcomes = python_tool.run(room, tree, planned, deadline, log)
    return list(planned.values()), [m for m in outcomes if m.outcome is not Outcome.NOT_RUN]


def _report(
    room: Room, every: list[Mutant], tried: list[Mutant], entries: list[Accepted]
) -> tuple[str, Score]:
    score, survivors = judge(tried, entries)
    score = Score(score.caught, score.survived, score.accepted, len(every) - len(tried))
    lines = [f"== {room.name} ({room.language}): {score}"]
    for mutant in survivors:
        mark = "  [no test runs this]" if mutant.outcome is Outcome.UNTESTED else ""
        lines.append(f"{mutant}{mark}")
    return "\n".join(lines), score


def main() -> int:
    """Run the rooms, print and write down the survivors, and return 1 for a stale entry or too low a score."""
    options = arguments().parse_args()
    rooms = load([name for name in options.rooms.split(",") if name])
    rooms = [room for room in rooms if options.language in (None, room.language)]
    trees = {language: scratch.copy(language) for language in {room.language for room in rooms}}
    entries = accepted()
    if options.list:
        for room in rooms:
            tool = rust_tool if room.language == "rust" else python_tool
            count = len(tool.plan(room, trees[room.language], options.shard))
            print(f"{room.name:18} {room.language:7} {count:5} mutants  {' '.join(map(str, room.files()))}")
        return 0
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    texts, scores, complaints = [], {"python": [], "rust": []}, []
    for number, room in enumerate(rooms):
        began = time.monotonic()
        every, tried = _run_room(
            room, trees[room.language], options.shard, rust_tool.spread(deadline, len(rooms) - number)
        )
        text, score = _report(room, every, tried, entries)
        texts.append(text)
        scores[room.language].append(score)
        if options.shard == (1, 1):
            caught = {(m.file, m.line, m.before, m.after): m for m in tried}
            complaints += stale(entries, [caught.get((m.file, m.line, m.before, m.after), m) for m in every])
        print(f"{text}\n({time.monotonic() - began:.0f} s)", flush=True)
    closing, failed = _closing(scores, options.at_least)
    closing += [f"accepted.toml: {complaint}" for complaint in complaints]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join([*texts, *closing]) + "\n")
    print("\n".join(closing), f"\nwritten to {REPORT.relative_to(ROOT)}")
    return int(failed or bool(complaints))


def _closing(scores: dict[str, list[Score]], at_least: float) -> tuple[list[str], bool]:
    lines, failed = [], False
    for language, several in scores.items():
        if several:
            total = Score(
                *(sum(getattr(s, n) for s in several) for n in ("caught", "survived", "accepted", "not_run"))
            )
            failed |= total.percent is not None and total.percent < at_least
            lines.append(f"== {language}: {total}")
    return lines, failed


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
