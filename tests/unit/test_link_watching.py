"""A link that is verified while a session runs: recorded packets in, the window in which it changed out.

The packets are decided by the core's own model, as the pump's are; what is asked for is computed apart from it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from harness.link.asked import Asked
from harness.link.base import LinkSpecs
from harness.link.counted import CounterWindows
from harness.link.pumplog import Rows, WindowCounter
from harness.link.watching import Deviation, Watching
from harness.link.window import LossTally, Window, window_from
from harness.run.sabotage import Sabotage
from punktfunk.core._core import LinkModel
from punktfunk.errors import LinkUnverifiedError

MS = 1_000_000
BEGIN = 77_000_000_123
"""When the session began, on some clock."""
Spec = dict[str, Any]


class Session:
    """A session of so many seconds, its packets in bursts as frames make them, over a model that may be changed."""

    def __init__(
        self, asked: Spec, seconds: float = 8.0, *, seed: int = 3, frame_ms: float = 8.0, burst: int = 8
    ) -> None:
        self.asked = asked
        self.seconds = seconds
        self.seed = seed
        self.frame_ms, self.burst = frame_ms, burst
        self.changes: list[tuple[float, Spec]] = []
        self.late_ns = 20_000
        """How late the pump's thread lets each packet go."""

    def changed(self, at_s: float, spec: Spec) -> Session:
        """Apply another spec at a time."""
        self.changes.append((at_s, spec))
        return self

    def rows(self) -> Rows:
        """Return what the pump's log has of the way down; nothing goes up."""
        model = LinkModel(json.dumps(self.asked), self.seed, 0)
        # The model's clock begins with its first packet; the spec came into force with it.
        rows: list[tuple[int, ...]] = []
        waiting = sorted(self.changes, key=lambda change: change[0])
        rng = np.random.default_rng(self.seed)
        index = 0
        model.set_spec(json.dumps(self.asked), BEGIN)
        for frame in range(round(self.seconds * 1e3 / self.frame_ms)):
            at = BEGIN + round(frame * self.frame_ms * MS)
            while waiting and at >= BEGIN + waiting[0][0] * 1e9:
                model.set_spec(json.dumps(waiting.pop(0)[1]), at)
            for _ in range(self.burst):
                size = int(rng.integers(60, 1200))
                outcome, deliveries = model.offer(at, size)
                verdict = {"delivered": 0, "lost": 1, "queue_dropped": 2}[outcome]
                if not deliveries:
                    rows.append((index, 0, 0, verdict, size, at, -1, -1))
                for copy, (due, corrupt) in enumerate(deliveries):
                    rows.append((index, 0, copy, 4 if corrupt else 0, size, at, due, due + self.late_ns))
                index += 1
                at += 9_000
        columns = np.array(rows, dtype=np.int64).T
        names = ("index", "direction", "copy", "verdict", "bytes", "in_ns", "due_ns", "out_ns")
        return dict(zip(names, columns, strict=True))

    def watched(self, *, uncertain_ns: int = 0, parts: int = 5) -> Watching:
        """Judge the session as a run does: in parts, as packets leave, every so often."""
        rows = self.rows()
        applied = (BEGIN - uncertain_ns // 3, BEGIN + uncertain_ns)
        counter = WindowCounter({"down": self.asked, "up": {}}, {"down": applied, "up": applied}, BEGIN)
        watching = Watching()
        left = np.where(rows["out_ns"] >= 0, rows["out_ns"], rows["in_ns"])
        edges = np.linspace(0, left.max() + 1, parts + 1)
        for since, until in itertools.pairwise(edges):
            mine = (left >= since) & (left < until)
            order = np.argsort(left[mine], kind="stable")
            counter.add({name: column[mine][order] for name, column in rows.items()})
            offered = int((rows["in_ns"] < until)[rows["copy"] == 0].sum())
            last = until == edges[-1]
            watching.add(counter.take({"down": offered, "up": 0}, int(until), final=last))
        return watching


TRACE = [
    {
        "at_ms": float(at),
        "delay_us": 4000.0 + 900 * (at // 400 % 5),
        "rate_kbps": 9000 + 1500 * (at // 400 % 3),
    }
    for at in range(0, 4000, 400)
]
LOSSY_TRACE = [{"at_ms": 1000.0 * n, "loss_p": p} for n, p in enumerate((0.0, 0.3, 0.02, 0.25, 0.0, 0.2))]
ASKED: dict[str, Spec] = {
    "nothing": {},
    "loss": {"loss": {"kind": "independent", "p": 0.04}, "delay_us": 5000.0},
    "bursts": {"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.4, "bad": 1.0, "good": 0.0}},
    "periodic": {"loss": {"kind": "periodic", "every": 7, "offset": 2}, "delay_us": 100.0},
    "rate": {"rate_kbps": 12_000, "queue_packets": 30, "delay_us": 3000.0, "overhead_bytes": 40},
    "uniform": {"delay_us": 20_000.0, "jitter_us": 4000.0},
    "normal": {"delay_us": 20_000.0, "jitter_us": 3000.0, "jitter_distribution": "normal"},
    "pareto": {"delay_us": 9000.0, "jitter_us": 2000.0, "jitter_distribution": "pareto", "jitter_reorder": True},
    "reorder": {"delay_us": 5000.0, "reorder": {"p": 0.1, "extra_us": 3000.0}},
    "reordered jitter": {"delay_us": 9000.0, "jitter_us": 900.0, "reorder": {"p": 0.1, "extra_us": 3000.0}},
    "copies": {"duplicate": 0.1, "delay_us": 2000.0, "corrupt": 0.05, "rate_kbps": 30_000},
    "trace": {"trace": TRACE, "trace_repeat": True, "loss": {"kind": "independent", "p": 0.02}},
    "trace once": {"trace": TRACE[:5], "trace_repeat": False, "delay_us": 700.0},
    "lossy trace": {"trace": LOSSY_TRACE, "trace_repeat": True},
    "sawtooth": {
        "trace": [{"at_ms": 0, "delay_us": 14_000.0}, {"at_ms": 100, "delay_us": 2000.0}], "trace_repeat": True,
    },
    "outage": {
        "rate_kbps": 8000, "queue_packets": 400,
        "trace": [{"at_ms": 0, "rate_kbps": 8000}, {"at_ms": 2000, "rate_kbps": 0}, {"at_ms": 2600, "rate_kbps": 9000}],
    },
    "changes": {
        "loss": {"kind": "independent", "p": 0.01}, "delay_us": 9000.0,
        "changes": [
            {"at_ms": 2000, "set": {"loss": {"kind": "independent", "p": 0.1}}},
            {"at_ms": 4000, "set": {"delay_us": 2000.0, "rate_kbps": 20_000}},
            {"at_ms": 6000, "set": {"rate_kbps": None, "loss": {"kind": "none"}}},
        ],
    },
    "jitter that ends": {
        "delay_us": 9000.0, "jitter_us": 6000.0,
        "changes": [{"at_ms": 3000, "set": {"jitter_us": 0.0}}, {"at_ms": 5000, "set": {"jitter_us": 2000.0}}],
    },
}  # fmt: skip


CHANGING = [name for name, spec in ASKED.items() if "trace" in spec or "changes" in spec]


@pytest.mark.parametrize(
    ("name", "uncertain_ms"), [*((name, 0) for name in ASKED), *((name, 15) for name in CHANGING)]
)
def test_a_link_as_asked_is_never_refused_and_all_of_it_is_judged(name: str, uncertain_ms: int) -> None:
    session = Session(ASKED[name])
    watching = session.watched(uncertain_ns=uncertain_ms * MS)
    assert watching.deviations == []
    watching.check("tun")
    assert sum(window.packets for window in watching.windows) == 8000
    judged = sum(window.delays + window.jitters for window in watching.windows)
    lost = sum(tally.packets for window in watching.windows for tally in window.loss)
    if name not in {"copies", "reordered jitter"}:
        assert judged > (300 if "jitter_us" in ASKED[name] else 3000)
    assert lost > 7000
    if not uncertain_ms:
        assert lost == 8000


HALF = {"loss": {"kind": "independent", "p": 0.02}, "delay_us": 5000.0}


@pytest.mark.parametrize(
    ("asked", "sabotage", "series", "within_s"),
    [
        ("loss", "half-loss", "loss", 3.0),
        ("loss", "delay+20%", "delay", 1.0),
        ("uniform", "delay+20%", "jitter", 1.0),
        ("rate", "delay+20%", "delay", 1.0),
        ("trace", "trace+1s", "delay", 1.0),
        ("lossy trace", "trace+1s", "loss", 2.0),
    ],
)
def test_a_link_sabotaged_after_five_seconds_is_refused_with_the_window(
    asked: str, sabotage: str, series: str, within_s: float
) -> None:
    spec = ASKED[asked]
    other = Sabotage(sabotage, 5.0).later(spec, 5.0)
    watching = Session(spec, 12.0).changed(5.0, other).watched(parts=12)
    first = min(watching.deviations, key=lambda deviation: deviation.to_s)
    assert (first.direction, first.series) == ("down", series)
    assert first.from_s == pytest.approx(5.0, abs=1.0)
    assert first.to_s <= 6.0 + within_s
    with pytest.raises(
        LinkUnverifiedError, match=rf"down: {series} from [456]\.0 s to \d+\.0 s: asked .*, found"
    ):
        watching.check("tun")


OTHERS: list[tuple[str, Spec, str]] = [
    ("rate", {"rate_kbps": 6000}, "delay"),
    ("rate", {"overhead_bytes": 140}, "delay"),
    ("nothing", {"loss": {"kind": "independent", "p": 0.003}}, "loss"),
    ("nothing", {"delay_us": 60.0}, "delay"),
    ("bursts", {"loss": {"kind": "independent", "p": 0.2}}, "loss"),
    ("periodic", {"loss": {"kind": "periodic", "every": 14}}, "loss"),
    ("pareto", {"delay_us": 10_500.0}, "jitter"),
    ("reorder", {"reorder": {"p": 0.0, "extra_us": 0.0}, "delay_us": 6000.0}, "delay"),
    ("trace", {"trace_repeat": False}, "delay"),
    ("sawtooth", {"jitter_reorder": True}, "delay"),
    ("changes", {"changes": []}, "loss"),
    ("outage", {"trace": []}, "delay"),
]


@pytest.mark.parametrize(("asked", "other", "series"), OTHERS, ids=[f"{o[0]}-{o[2]}" for o in OTHERS])
def test_any_other_link_is_refused_by_what_is_different(asked: str, other: Spec, series: str) -> None:
    session = Session(ASKED[asked]).changed(0.0, ASKED[asked] | other)
    found = {deviation.series for deviation in session.watched().deviations}
    assert series in found, found


def test_a_pump_that_is_late_is_not_taken_for_a_link_that_was_changed() -> None:
    """The thread lets each packet go 60 ms late, as on a machine that somebody else has: the link is as asked."""
    session = Session(ASKED["loss"])
    session.late_ns = 60 * MS
    watching = session.watched()
    assert watching.deviations == []
    assert {round(window.late_p99_ms or 0) for window in watching.windows} == {60}
    assert max(window.late_max_ms or 0 for window in watching.windows) == pytest.approx(60)


def test_packets_on_their_way_hold_a_window_open_until_it_is_whole() -> None:
    spec = {"delay_us": 900_000.0}
    rows = Session(spec, 2.0).rows()
    counter = WindowCounter({"down": spec, "up": {}}, {"down": (BEGIN, BEGIN), "up": (BEGIN, BEGIN)}, BEGIN)
    now = BEGIN + 1_200 * MS
    gone = rows["out_ns"] <= now
    counter.add({name: column[gone] for name, column in rows.items()})
    assert counter.take({"down": int((rows["in_ns"] <= now).sum()), "up": 0}, now) == []
    counter.add({name: column[~gone] for name, column in rows.items()})
    [first, second] = counter.take({"down": 2000, "up": 0}, BEGIN + 2_900 * MS)
    assert [(window.from_ms, window.to_ms, window.packets) for window in (first, second)] == [
        (0.0, 1000.0, 1000),
        (1000.0, 2000.0, 1000),
    ]
    assert first.delays == 1000
    assert counter.take({"down": 2000, "up": 0}, BEGIN + 3_900 * MS, final=True) == []


def test_what_is_never_complete_is_judged_at_the_end_as_far_as_it_is_known() -> None:
    rows = Session({}, 2.0).rows()
    counter = WindowCounter({"down": {}, "up": {}}, {"down": (BEGIN, BEGIN), "up": (BEGIN, BEGIN)}, BEGIN)
    known = rows["index"] != 1500
    counter.add({name: column[known] for name, column in rows.items()})
    found = counter.take({"down": 2000, "up": 0}, BEGIN + 4_000 * MS)
    found += counter.take({"down": 2000, "up": 0}, BEGIN + 4_000 * MS, final=True)
    assert [window.packets for window in found] == [1000, 500]


def test_windows_go_through_json_whole() -> None:
    watching = Session(ASKED["copies"], 2.0).watched()
    for window in watching.windows:
        assert window_from(json.loads(json.dumps(asdict(window)))) == window
    assert json.loads(json.dumps(watching.to_dict()))["windows"] == len(watching.windows)


# --- counters alone -----------------------------------------------------------------------------------------


def counted(asked: Spec, *readings: tuple[float, dict[str, int]], log: bool = False) -> list[Window]:
    windows = CounterWindows(
        LinkSpecs(asked, {}, 1), {"down": (BEGIN, BEGIN + MS), "up": (BEGIN, BEGIN + MS)}, BEGIN, log=log
    )
    found = []
    for at_s, counters in readings:
        found += windows.add({"down": counters, "up": {}}, BEGIN + round(at_s * 1e9))
    return found


def losses(per_s: int, lost_per_s: int, seconds: int, start: int = 0) -> list[tuple[float, dict[str, int]]]:
    return [
        (start + n, {"link_in": 50 + (start + n) * per_s, "dropped_total": (start + n) * lost_per_s})
        for n in range(seconds + 1)
    ]


def test_a_kernels_counters_show_that_loss_was_halved() -> None:
    asked = {"loss": {"kind": "independent", "p": 0.04}}
    as_asked, halved = losses(2000, 80, 5), losses(2000, 40, 5, start=6)
    for _, counts in halved:
        counts["dropped_total"] += 200
    watching = Watching()
    watching.add(counted(asked, *as_asked))
    assert watching.deviations == []
    watching.add(counted(asked, *as_asked, *halved))
    assert [(d.direction, d.series) for d in watching.deviations][:1] == [("down", "loss")]


@pytest.mark.parametrize(("rate", "refused"), [({}, True), ({"rate_kbps": 5000}, False)])
def test_more_drops_than_asked_for_say_nothing_where_a_queue_may_be_full(rate: Spec, refused: bool) -> None:
    asked = {"loss": {"kind": "independent", "p": 0.04}, **rate}
    watching = Watching()
    watching.add(counted(asked, *losses(2000, 200, 4)))
    assert bool(watching.deviations) is refused
    # Too few say it with a queue, too.
    watching = Watching()
    watching.add(counted(asked, *losses(2000, 20, 4)))
    assert watching.deviations


def test_a_window_in_which_the_loss_was_changed_is_not_judged_by_counters() -> None:
    asked = {
        "loss": {"kind": "none"},
        "changes": [{"at_ms": 2500, "set": {"loss": {"kind": "independent", "p": 0.04}}}],
    }
    windows = [window for window in counted(asked, *losses(1000, 0, 6)) if window.direction == "down"]
    assert [[tally.asked.get("p", 0) for tally in window.loss] for window in windows] == [
        [0], [0], [], [0.04], [0.04], [0.04],
    ]  # fmt: skip


def test_copies_and_corruption_are_counted_where_a_log_has_the_rest() -> None:
    asked = {"duplicate": 0.1, "corrupt": 0.05}
    counters = [
        {
            "link_in": 1000 * n,
            "dropped_loss": 200 * n,
            "duplicated": 80 * n,
            "corrupted": 44 * n,
            "dropped_queue": 0,
        }
        for n in range(4)
    ]
    windows = counted(asked, *((n, counts) for n, counts in enumerate(counters)), log=True)
    assert [(c.name, c.packets, c.events) for c in windows[0].chances] == [
        ("duplicates", 800, 80),
        ("corrupted", 880, 44),
    ]
    assert windows[0].loss == []
    watching = Watching()
    watching.add(windows)
    assert watching.deviations == []
    for name in ("duplicated", "corrupted"):
        less = [counts | {name: counts[name] // 4} for counts in counters]
        watching = Watching()
        watching.add(counted(asked, *enumerate(less), log=True))
        assert {d.series for d in watching.deviations} == {"duplicates" if name == "duplicated" else name}
    full = [counts | {"dropped_queue": n} for n, counts in enumerate(counters)]
    assert [window.chances for window in counted(asked, *enumerate(full), log=True)] == [[], [], []]


# --- what is asked for --------------------------------------------------------------------------------------


def test_periodic_loss_is_exact_over_one_window_and_over_many() -> None:
    def window(n: int, packets: int, lost: int, every: int = 10) -> Window:
        tally = LossTally({"kind": "periodic", "every": every}, packets, lost)
        return Window("down", n * 1e3, (n + 1) * 1e3, packets, loss=[tally])

    watching = Watching()
    watching.add([window(0, 105, 11), window(1, 105, 10), window(2, 105, 10)])
    assert watching.deviations == []
    # Each is within a packet, all together are not: 41 of 420 may be, 51 of 525 never.
    watching.add([window(3, 105, 10)])
    assert watching.deviations == []
    watching.add([window(4, 105, 10)])
    assert watching.deviations == [Deviation("down", "loss", 0.0, 5.0, "1 of every 10 packets", "51 of 525")]
    # Another period begins anew.
    again = Watching()
    again.add([window(0, 100, 9), window(1, 100, 20, every=5), window(2, 100, 12)])
    assert [(d.from_s, d.to_s, d.found) for d in again.deviations] == [(2.0, 3.0, "12 of 100")]


def test_a_bottleneck_as_asked_is_the_cores() -> None:
    """Also over changes of the rate, an outage and a backlog that outlasts them."""
    spec = ASKED["outage"]
    rows = Session(spec, 5.0).rows()
    passed = rows["verdict"] == 0
    assert passed.sum() > 2000
    sent = Asked(spec).passed_ns(rows["in_ns"][passed], rows["bytes"][passed], 0.0, BEGIN)
    assert np.abs(sent - rows["due_ns"][passed]).max() < 1000
    waited = rows["due_ns"][passed] - rows["in_ns"][passed]
    assert waited.max() > 500 * MS, "the outage held packets back"
