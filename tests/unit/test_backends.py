"""The desktops that can be streamed: in which order, and how the command line and other rooms name them."""

from __future__ import annotations

import pytest

from punktfunk import cli
from punktfunk.desktop import BackendName
from punktfunk.desktop.backends import BACKENDS
from punktfunk.host.management import COMPOSITORS


def test_the_management_api_names_the_compositor_of_every_back_end() -> None:
    assert {backend.compositor for backend in BACKENDS} <= {name for name, _ in COMPOSITORS}


def test_back_ends_are_tried_in_the_order_that_is_stated() -> None:
    names = [backend.name for backend in BACKENDS]
    assert names == [name for name in BackendName if name in names]
    assert list(BackendName) == ["kwin", "mutter", "wlroots", "portal", "headless-sway"]


def test_the_command_line_offers_every_back_end_and_auto() -> None:
    assert [choice.value for choice in cli.ServedDesktop] == ["auto", *BackendName]


@pytest.mark.parametrize(
    ("source", "desktop", "program", "words"),
    [
        ("testcard", "wlroots", None, "--desktop is for desktops, not for --source testcard"),
        ("file", "auto", "foot", "--app is for desktops, not for --source file"),
        ("auto", "kwin", "foot", "--app is what a headless desktop runs, not --desktop kwin"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    source: str, desktop: str, program: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli._served_source(
            cli.ServedSource(source), None, None, cli.ServedDesktop(desktop), program, audio=True
        )
    assert words in " ".join(capsys.readouterr().err.split())
