"""The unit of a host as text: what is in it, how words are quoted, and whose it is said to be."""

from __future__ import annotations

import json
import re

import pytest

from punktfunk.errors import UsageError
from punktfunk.host.systemd import unit as units
from punktfunk.host.systemd.unit import Session, Unit

PROGRAM = ("/opt/punktfunk/bin/python", "-P", "-m", "punktfunk")


def lines(unit: Unit) -> list[str]:
    return unit.text().splitlines()


def test_it_starts_with_the_graphical_session_and_ends_with_it() -> None:
    found = lines(Unit(Session.GRAPHICAL, PROGRAM))
    assert "ExecStart=:/opt/punktfunk/bin/python -P -m punktfunk serve" in found
    assert "WantedBy=graphical-session.target" in found
    assert "PartOf=graphical-session.target" in found
    assert "After=graphical-session.target" in found


def test_headless_it_starts_with_the_users_manager_and_waits_for_no_session() -> None:
    found = lines(Unit(Session.HEADLESS, PROGRAM))
    assert "WantedBy=default.target" in found
    assert not [line for line in found if "graphical" in line and not line.startswith("#")]


def test_a_hang_is_noticed_and_a_failure_is_not_the_end() -> None:
    found = lines(Unit(Session.GRAPHICAL, PROGRAM))
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=30",
        "Restart=on-failure",
        "OOMPolicy=continue",
    ):
        assert line in found
    assert "KillMode=" not in "".join(found), (
        "what gives the user's sound back outlives the host for a moment"
    )


@pytest.mark.parametrize("session", list(Session))
@pytest.mark.parametrize("hardened", [False, True])
def test_what_was_written_is_read_back(session: Session, hardened: bool) -> None:
    unit = Unit(session, PROGRAM, ("--app=foot -e 'top %h'", "--max-sessions=2"), hardened)
    found = units.read(unit.text())
    assert found == units.FoundUnit(unit, intact=True)


def test_hardening_is_asked_for_and_leaves_what_streaming_needs() -> None:
    plain, hardened = (
        Unit(Session.HEADLESS, PROGRAM).text(),
        Unit(Session.HEADLESS, PROGRAM, hardened=True).text(),
    )
    assert "NoNewPrivileges" not in plain
    assert "NoNewPrivileges=yes" in hardened
    for needed in (
        "RestrictNamespaces",
        "RestrictRealtime",
        "MemoryDenyWriteExecute",
        "PrivateDevices",
        "DeviceAllow",
    ):
        assert needed not in hardened


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("--mode=1280x720@60", "--mode=1280x720@60"),
        ("--app=a b", '"--app=a b"'),
        ("100%", '"100%%"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("$HOME;true", '"$HOME;true"'),
        ("", '""'),
        ("ü", '"ü"'),
    ],
)
def test_words_reach_the_program_as_they_are(word: str, quoted: str) -> None:
    assert units.command_line([word]) == quoted
    assert units.command_line(["a", word]) == f"a {quoted}"


@pytest.mark.parametrize("word", ["a\nExecStartPre=/bin/evil", "a\x1b[2J", "a\0"])
def test_a_word_that_would_begin_another_line_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="a unit cannot hold"):
        Unit(Session.HEADLESS, PROGRAM, (word,))


def test_a_unit_that_was_changed_is_ours_and_not_intact() -> None:
    text = Unit(Session.HEADLESS, PROGRAM).text()
    for changed in (
        text.replace("WatchdogSec=30", "WatchdogSec=31"),
        text + "\n",
        text.replace("[Install]", ""),
    ):
        assert changed != text
        found = units.read(changed)
        assert found is not None
        assert not found.intact


def test_what_is_not_ours_is_not_read() -> None:
    text = Unit(Session.HEADLESS, PROGRAM).text()
    mark = next(line for line in text.splitlines() if line.startswith("# punktfunk-unit: "))
    said = json.loads(mark.removeprefix("# punktfunk-unit: "))

    def with_(**changes: object) -> str:
        return text.replace(mark, f"# punktfunk-unit: {json.dumps({**said, **changes})}")

    assert units.read(with_()) is not None
    for foreign in (
        "",
        "[Service]\nExecStart=/bin/true\n",
        "\n" + text,
        text.replace(mark, "# punktfunk-unit: {"),
        text.replace(mark, "# punktfunk-unit: []"),
        text.replace(mark, f"# punktfunk-unit: {'[' * 100_000}"),
        text.replace(mark + "\n", ""),
        with_(version=2),
        with_(**{"with": "toaster"}),
        with_(program="python"),
        with_(options=[1]),
        with_(options=["a\nb"]),
    ):
        assert units.read(foreign) is None, foreign[:300]


def test_the_mark_names_what_the_line_that_is_run_names() -> None:
    """The words that a person reads in the mark are those that systemd runs."""
    text = Unit(Session.HEADLESS, PROGRAM, ("--app=x y",)).text()
    (run,) = re.findall(r"^ExecStart=:(.*)$", text, re.MULTILINE)
    assert run == units.command_line([*PROGRAM, "serve", "--app=x y"])
