"""Whatever clients do and in whatever order: the bounds of a host's capacity hold, and nobody waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.errors import CapacityFullError
from punktfunk.host.capacity import (
    CLIENT_WORKER_NS,
    CLIENT_WORKERS_BURST,
    WORKER_NS,
    WORKERS_BEYOND_STREAMS,
    WORKERS_BURST,
    Capacity,
    Claimant,
    LaunchWorker,
)

MS = 1_000_000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hello", "start", "leave", "worker gone", "wait"]),
        st.integers(0, 7),
        st.integers(0, 1500),
    ),
    max_size=200,
)


class Model:
    """A host around its capacity: sessions by number, workers by the session that they were started for."""

    def __init__(self, max_streams: int) -> None:
        self.capacity: Capacity[int] = Capacity(max_streams, 0)
        self.now = 0
        self.waiting: list[int] = []
        self.streams: list[int] = []
        self.unlaunched: set[int] = set()
        self.launched: list[tuple[int, str]] = []
        self.clients: dict[int, Claimant] = {}
        self.made = 0

    def hello(self, client: int) -> None:
        claimant = Claimant(f"client {client // 2}", proven=client % 2 == 0)
        try:
            self.capacity.reserve(self.made, claimant, self.now)
        except CapacityFullError:
            return
        self.clients[self.made] = claimant
        self.waiting.append(self.made)
        self.made += 1

    def start(self, which: int) -> None:
        if not self.waiting:
            return
        session = self.waiting[which % len(self.waiting)]
        try:
            former = self.capacity.start(session)
        except CapacityFullError:
            self.over(session)
            return
        self.waiting.remove(session)
        self.streams.append(session)
        self.unlaunched.add(session)
        for one in former:
            assert self.clients[one] == self.clients[session]
            assert self.clients[one].proven

    def leave(self, which: int) -> None:
        sessions = self.waiting + self.streams
        if sessions:
            self.over(sessions[which % len(sessions)])

    def over(self, session: int) -> None:
        self.capacity.leave(session)
        for sessions in (self.waiting, self.streams):
            if session in sessions:
                sessions.remove(session)
        self.unlaunched.discard(session)

    def obey(self) -> None:
        while (action := self.capacity.poll(self.now)) is not None:
            if isinstance(action, LaunchWorker):
                assert action.id in self.unlaunched
                self.unlaunched.remove(action.id)
                self.launched.append((self.now, self.clients[action.id].name))
            else:
                self.over(action.id)


@given(max_streams=st.integers(1, 5), steps=STEPS)
def test_bounds_hold_for_streams_workers_and_rates(
    max_streams: int, steps: list[tuple[str, int, int]]
) -> None:
    model = Model(max_streams)
    for what, which, wait_ms in steps:
        match what:
            case "hello":
                model.hello(which)
            case "start":
                model.start(which)
            case "leave":
                model.leave(which)
            case "worker gone" if model.capacity.workers_alive:
                model.capacity.worker_gone()
            case "wait":
                model.now += wait_ms * MS
        model.obey()
        assert model.capacity.streams == len(model.streams) <= max_streams
        assert model.capacity.workers_alive <= max_streams + WORKERS_BEYOND_STREAMS
        due = model.capacity.next_timeout()
        assert due is None or due > model.now

    for since, (first, _) in enumerate(model.launched):
        later = model.launched[since:]
        took = later[-1][0] - first
        assert len(later) <= WORKERS_BURST + took // WORKER_NS + 1
        for name in {name for _, name in later}:
            own = [at for at, whose in later if whose == name]
            assert len(own) <= CLIENT_WORKERS_BURST + (own[-1] - own[0]) // CLIENT_WORKER_NS + 1

    # Once the workers of those that left are gone, every stream gets its own without further ado.
    while model.unlaunched:
        while model.capacity.workers_alive > len(model.streams) - len(model.unlaunched):
            model.capacity.worker_gone()
        due = model.capacity.next_timeout()
        assert due is not None
        model.now = max(model.now, due)
        model.obey()
    assert len(model.launched) == model.capacity.counters["workers_started"]
