"""The udev rule by which a host may plug in gamepads without being root, and its installation, which takes root."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from punktfunk.errors import ForeignFileError, PrivilegeError, ServiceError, UsageError
from punktfunk.regular_file import read_text

GROUP: Final = "punktfunk"
"""Who may plug in devices, and read the gamepads among them. Not ``input``: that may read every keyboard."""
RULES_FILE: Final = Path("/etc/udev/rules.d/70-punktfunk.rules")
"""After 60-input-id.rules, which finds out what a device is, and before 73-seat-late.rules, which acts on uaccess."""
_HEAD: Final = "# Written by `punktfunk service gamepads --install`.\n"
RULES: Final = f"""\
{_HEAD}# Who sits at this machine and who is in the group {GROUP} may make input devices.
KERNEL=="uinput", SUBSYSTEM=="misc", GROUP="{GROUP}", MODE="0660", TAG+="uaccess", OPTIONS+="static_node=uinput"
# Programs of that group may read the gamepads that were made so; keyboards and mice stay with the group input.
SUBSYSTEM=="input", KERNEL=="event*|js*", DEVPATH=="/devices/virtual/input/*", ENV{{ID_INPUT_JOYSTICK}}=="1", \
GROUP="{GROUP}", MODE="0660"
"""
_MAX_BYTES: Final = 65_536
_LIMIT_S: Final = 30.0


def commands(user: str) -> tuple[str, ...]:
    """Return what a person would type as root to do by hand what :func:`install` does."""
    return (
        f"groupadd --system {GROUP}",
        f"usermod --append --groups {GROUP} {user}",
        f"$EDITOR {RULES_FILE}",
        "modprobe uinput && udevadm control --reload && udevadm trigger --sysname-match=uinput",
    )


def installed(rules: Path = RULES_FILE) -> bool:
    """Return whether the rule of this version is there."""
    try:
        return read_text(rules, _MAX_BYTES) == RULES
    except OSError:
        return False


def install(user: str, tell: Callable[[str], None] = lambda _line: None, rules: Path = RULES_FILE) -> None:
    """Write the rule, make the group, put ``user`` into it and have udev apply it; ``tell`` is given a line for each.

    Raises ``PrivilegeError`` with the command for root, ``UsageError`` for a user that does not exist,
    ``ForeignFileError`` for a rule that punktfunk did not write, and ``ServiceError`` for what the system refuses.
    """
    if os.geteuid() != 0:
        raise PrivilegeError(
            "a rule for everybody's devices is written by root",
            f"sudo {sys.executable} -P -m punktfunk service gamepads --install --user {user}",
        )
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user}", "name who runs the host: --user") from None
    if rules.is_symlink() or (rules.exists() and not _is_ours(rules)):
        raise ForeignFileError(f"{rules} was not written by punktfunk", "look at it, then move it away")
    if not _group_exists():
        _run("groupadd", "--system", GROUP)
        tell(f"group        {GROUP} is new")
    _run("usermod", "--append", "--groups", GROUP, "--", user)
    tell(f"member       {user}, from the next login on")
    _write(rules)
    tell(f"rule         {rules}")
    _apply()
    tell("applied      udev knows it")


def _is_ours(rules: Path) -> bool:
    try:
        return read_text(rules, _MAX_BYTES).startswith(_HEAD)
    except OSError:
        return False


def _group_exists() -> bool:
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        return False
    return True


def _write(rules: Path) -> None:
    """Replace the file by one that is whole at any time, and that everybody may read."""
    temporary = rules.with_name(f".{rules.name}.{os.getpid()}")
    try:
        with temporary.open("x", encoding="ascii") as file:
            file.write(RULES)
        temporary.chmod(0o644)
        temporary.replace(rules)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ServiceError(
            f"{rules} cannot be written: {error.strerror}", f"does {rules.parent} exist?"
        ) from error


def _apply() -> None:
    if shutil.which("modprobe") is not None:
        # Built into some kernels, and missing from some containers': whether the node is there, udev and doctor tell.
        subprocess.run(["modprobe", "--quiet", "uinput"], check=False, timeout=_LIMIT_S)
    _run("udevadm", "control", "--reload")
    _run("udevadm", "trigger", "--sysname-match=uinput", "--settle")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ServiceError(f"{command[0]} is not installed", "apt-get install passwd udev") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"{command[0]} did not end within {_LIMIT_S:.0f} s", "run it by hand") from error
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise ServiceError(f"{' '.join(command)} failed: {words or done.returncode}", "run it by hand")
