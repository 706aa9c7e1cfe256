"""What tests of real desktops share. They run inside the root folder of ``nox -s desktops``, and nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.desktops.support.compositors import COMPOSITORS, Compositor
from tests.desktops.support.session import UserSession, user_session
from tests.support.measuring import measures

INSIDE = "PUNKTFUNK_DESKTOPS"
"""Environment variable: the suite of Debian that the root was made of."""

collect_ignore_glob = [] if os.environ.get(INSIDE) else ["test_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single tests."""
    parser.addoption(
        "--desktop-kills",
        type=int,
        default=8,
        help="SIGKILLs of tests/desktops/test_kills.py (promise: 50)",
    )
    parser.addoption(
        "--figures", action="store_true", help="take the figures of docs/reference/desktops.md (by hand)"
    )
    parser.addoption(
        "--figure-seconds", type=float, default=6.0, help="how long each stream of --figures is measured"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each test of a desktop tried again alone where it fails beside others, which the end of the run tells.

    Whole desktops are programs of others. Mutter 48 was seen to end by itself while it started, and to lose pointer
    movements for half a minute, in one run of 130 tests each; alone, the same tests passed.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not measures(item):
            item.add_marker(pytest.mark.measures)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[UserSession]:
    """A user's session without a compositor: a bus, PipeWire and a sink. It ends with all that runs in it."""
    with user_session(tmp_path / re.sub(r"\W+", "-", tmp_path.name)) as begun:
        yield begun


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Compositor]]:
    """Return a function that starts a session with a compositor by name: ``start("sway")``."""
    with ExitStack() as ends:

        def begin(name: str) -> Compositor:
            folder = tmp_path_factory.mktemp(name)
            return COMPOSITORS[name](ends.enter_context(user_session(folder / name)))

        yield begin
