"""The how-to about captures: each command of it runs, and prints what the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cli
from harness.dissect.filters import FIELDS
from tests.support import recorded_session

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/read-a-capture.md"
STEPS = re.findall(
    r"^\$ punktfunk-lab (dissect .*)\n((?:.*\n)*?)```$", PAGE.read_text(encoding="utf-8"), re.M
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("captured")
    with pytest.MonkeyPatch.context() as patch:
        recorded_session.record(made, patch)
        patch.chdir(made)
        yield made


def squeezed(text: str) -> str:
    """Return lines without the white space at their ends: the table's columns have a width, the page's have none."""
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(("command", "shown"), STEPS, ids=[command for command, _shown in STEPS])
def test_each_command_prints_what_the_page_says(
    folder: Path, command: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(shlex.split(command)) == 0
    printed = squeezed(capsys.readouterr().out)
    if "--json" in command:
        document = json.loads(printed)
        assert document["packets"] == 520
        assert [stream["kind"] for stream in document["streams"]] == ["QUIC", "QUIC", "punktfunk/1 sealed"]
        return
    # "…" stands for what differs from one run to the next, alone on a line for any lines.
    pattern = re.escape(squeezed(shown)).replace("…\\\n", "(?:.*\\\n)*?").replace("\\\n…", "(?:\\\n.*)*?")
    assert re.search(pattern.replace("…", ".*?"), printed), printed


def test_the_page_has_a_step_of_every_kind_and_names_every_field_of_a_filter() -> None:
    words = " ".join(command for command, _shown in STEPS)
    for option in ("--keys", "--frame", "--filter", "--json", "--limit"):
        assert option in words
    page = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"A filter compares (.*?) with numbers", page, re.S)
    assert listed is not None
    assert re.findall(r"`(\w+)`", listed[1]) == list(FIELDS)
