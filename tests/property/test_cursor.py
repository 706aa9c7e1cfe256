"""Whatever a network does to datagrams, a client comes to draw the pointer as the host has it, and keeps few shapes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from punktfunk.cursor import CursorShape, CursorUpdate
from punktfunk.native import datagrams, messages
from punktfunk.native.control import MS, S
from punktfunk.native.cursor import CACHED_SHAPES, CursorCache, CursorTelling
from punktfunk.native.datagrams import CursorState

places = st.integers(-(2**31), 2**31 - 1)
shapes = st.builds(
    lambda width, height, number: CursorShape(
        width, height, width - 1, 0, number.to_bytes(4, "little") * width * height
    ),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 60),
)
updates = st.builds(CursorUpdate, st.booleans(), places, places, st.none() | shapes)


class Network:
    """Delivers the control stream in order, and of datagrams what it likes, when it likes."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._late: list[bytes] = []
        self.cache = CursorCache()

    def carry(self, what: messages.CursorShape | CursorState, *, well: bool) -> None:
        if isinstance(what, messages.CursorShape):
            message = messages.decode(what.encode())
            assert isinstance(message, messages.CursorShape)
            self.cache.shaped(message)
            return
        fate = "now" if well else self._data.draw(st.sampled_from(["now", "lost", "late", "twice"]))
        wire = datagrams.encode(what)
        self._late += [wire] if fate in ("late", "twice") else []
        if fate in ("now", "twice"):
            self._arrive(wire)
        if self._late and not well and self._data.draw(st.booleans()):
            self._arrive(self._late.pop())

    def _arrive(self, wire: bytes) -> None:
        state = datagrams.decode_from_host(wire)
        assert isinstance(state, CursorState)
        self.cache.moved(state)


@given(st.lists(st.tuples(st.integers(0, 200), updates), min_size=1, max_size=40), st.data())
def test_a_client_draws_at_last_what_the_host_has(
    script: list[tuple[int, CursorUpdate]], data: st.DataObject
) -> None:
    telling, network = CursorTelling(0), Network(data)
    now, looks = 0, None

    def send(*, well: bool) -> None:
        while (what := telling.poll(now, 0)) is not None:
            network.carry(what, well=well)

    for wait_ms, update in script:
        now += wait_ms * MS
        looks = update.shape or looks
        telling.update(update, now)
        send(well=False)
        assert len(network.cache._shapes) <= CACHED_SHAPES
    over = now + 3 * S
    while now < over:
        due = telling.next_timeout()
        assert due is not None
        assert due > now, "nothing is due again at once"
        now = due
        send(well=True)
    last = script[-1][1]
    drawn = network.cache.pointer
    if looks is None:
        assert drawn == CursorUpdate(visible=False)
    else:
        assert drawn == CursorUpdate(last.visible, last.x, last.y, looks)
