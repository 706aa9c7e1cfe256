"""A link that a busy machine had no time to prove is proven again, and nothing else is tried twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.run import case as cases
from harness.run.context import RunContext
from harness.scenario.expand import expand
from punktfunk.errors import LinkUnverifiedError
from tests.support import proven

Tried = Callable[..., tuple[str, int]]

QUIET, BUSY = False, True


class Machine:
    """Stands for what watches it: whether others had it, one answer a try."""

    def __init__(self, *busy: bool) -> None:
        self._busy = iter(busy)
        self.too_busy = False

    def __call__(self) -> Machine:
        return self

    def __enter__(self) -> Machine:
        self.too_busy = next(self._busy)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Return a function that runs cases with those reasons on such a machine and returns the one that is kept."""

    def run(reasons: list[str], *busy: bool, **words: str) -> tuple[str, int]:
        monkeypatch.setattr(proven, "Beside", Machine(*busy))
        folders: list[Path] = []

        def one(folder: Path) -> str:
            assert folder.is_dir()
            assert not list(folder.iterdir())
            folders.append(folder)
            return reasons[len(folders) - 1]

        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        kept = proven.once_proven(one, lambda reason: reason, place, **words)
        assert len(set(folders)) == len(folders)
        return kept, len(folders)

    return run


SLOW = proven.REFUSED + "the tun link is not as asked: down: delay"


def test_a_refusal_of_a_busy_machine_is_tried_again_until_the_link_is_proven(tried: Tried) -> None:
    assert tried([SLOW, SLOW, ""], BUSY, BUSY, BUSY) == ("", 3)


def test_a_refusal_of_a_quiet_machine_stands(tried: Tried) -> None:
    assert tried([SLOW, ""], QUIET, QUIET) == (SLOW, 1)


@pytest.mark.parametrize("reason", ["", "loss: measured 9 %", "host failed: link not verified: by it"])
def test_any_other_result_stands_whatever_the_machine_did(tried: Tried, reason: str) -> None:
    assert tried([reason, "never"], BUSY, BUSY) == (reason, 1)


def test_a_refusal_that_is_meant_stands_and_another_one_does_not(tried: Tried) -> None:
    meant = proven.REFUSED + "the tun link did not stay as asked: down: loss"
    assert tried([SLOW, meant], BUSY, BUSY, meant="did not stay") == (meant, 2)


def test_a_short_limit_that_a_busy_machine_keeps_nobody_within_is_tried_again(tried: Tried) -> None:
    late = "client was not ready within 1.5 s"
    assert tried([late, ""], BUSY, BUSY, late="not ready within") == ("", 2)
    assert tried([late, ""], QUIET, QUIET, late="not ready within") == (late, 1)
    assert tried(["host failed", ""], BUSY, BUSY, late="not ready within") == ("host failed", 1)


def test_the_reason_of_a_case_begins_so_when_its_link_was_not_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise LinkUnverifiedError("the tun link is not as asked: down: delay")

    monkeypatch.setattr(cases, "_run_on", refuse)
    (tmp_path / "one.yaml").write_text("link: {backend: sim}\n", encoding="utf-8")
    [case] = expand(tmp_path / "one.yaml").cases
    assert cases.run_case(case, tmp_path, RunContext(run_id="one")).reason.startswith(SLOW)


def test_a_link_that_is_never_proven_fails_its_test_in_time(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((0.0, 60.0, proven.PROOF_FOR_S, proven.PROOF_FOR_S + 1))
    monkeypatch.setattr(proven.time, "monotonic", lambda: next(clock))
    assert tried([SLOW] * 9, *[BUSY] * 9) == (SLOW, 3)
