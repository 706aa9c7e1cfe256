"""Installing the rule for gamepads: who may, and what is not written over. Done for real in ``nox -s service-vm``."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from punktfunk.errors import ForeignFileError, PrivilegeError, UsageError
from punktfunk.host.systemd import gamepads


def me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_who_is_not_root_is_told_the_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    rules = tmp_path / "rules"
    with pytest.raises(PrivilegeError) as refused:
        gamepads.install("anna", rules=rules)
    assert refused.value.hint.startswith("sudo /")
    assert refused.value.hint.endswith("-m punktfunk service gamepads --install --user anna")
    assert not rules.exists()


def test_a_user_that_is_nobody_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match="there is no user nobody-of-that-name"):
        gamepads.install("nobody-of-that-name", rules=tmp_path / "rules")


@pytest.mark.parametrize("content", ["", 'KERNEL=="uinput"\n', " " + gamepads.RULES])
def test_a_rule_of_somebody_else_is_not_written_over(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        gamepads, "_run", lambda *_: pytest.fail("something was done before it was looked at")
    )
    rules = tmp_path / "rules"
    rules.write_text(content)
    with pytest.raises(ForeignFileError):
        gamepads.install(me() if os.getuid() else "root", rules=rules)
    assert rules.read_text() == content
    rules.unlink()
    rules.symlink_to("/dev/null")
    with pytest.raises(ForeignFileError):
        gamepads.install(me() if os.getuid() else "root", rules=rules)


def test_the_rule_that_is_there_is_known_by_its_whole_text(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    assert not gamepads.installed(rules)
    rules.write_text(gamepads.RULES)
    assert gamepads.installed(rules)
    rules.write_text(gamepads.RULES.replace("0660", "0666"))
    assert not gamepads.installed(rules)


def test_the_commands_by_hand_name_the_group_and_the_user() -> None:
    assert "usermod --append --groups punktfunk anna" in gamepads.commands("anna")
