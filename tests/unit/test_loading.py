"""When a program collects garbage: not while it loads, then as usual, and never what it has loaded."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator

import pytest

from punktfunk.process import loading

USUAL = (701, 11, 13)


@pytest.fixture(autouse=True)
def collector_as_found() -> Iterator[None]:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)
    atexit.unregister(gc.freeze)
    if gc.get_freeze_count() != frozen:
        gc.unfreeze()
        if frozen:
            gc.freeze()  # what the suite's own start has frozen


def test_what_is_loaded_is_never_looked_at_and_what_comes_later_is() -> None:
    frozen = gc.get_freeze_count()
    loading.begin()
    loading.begin()
    kept = [[n] for n in range(5000)]
    assert gc.get_threshold()[0] == loading.LOADED
    assert gc.get_freeze_count() == frozen
    loading.ready()
    assert gc.get_threshold() == USUAL
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_a_program_that_did_not_begin_so_keeps_the_collector_of_whoever_runs_it() -> None:
    frozen = gc.get_freeze_count()
    loading.ready()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (USUAL, frozen)
    loading.begin()
    loading.ready()
    gc.unfreeze()
    loading.ready()
    assert gc.get_freeze_count() == 0, "once"


def test_more_is_loaded_without_a_collection_even_where_that_fails() -> None:
    seen = 0

    def load() -> None:
        nonlocal seen
        with loading.more():
            seen = gc.get_threshold()[0]
            raise ImportError

    with pytest.raises(ImportError):
        load()
    assert seen == loading.LOADED
    assert gc.get_threshold() == USUAL
