"""Give orders to systemd's manager of this user, and ask logind whether the user may stay without a login."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from punktfunk.errors import LingerError, NoServiceManagerError, ServiceError

_BOOTED: Final = Path("/run/systemd/system")
"""There where systemd runs this machine (sd_booted(3))."""
_ANSWER_LIMIT_S: Final = 20.0
_PAGE: Final = "docs/how-to/install-and-forget.md"
_LOST: Final = ("Failed to connect to bus", "Failed to connect to user scope bus")


def user_name() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class UserManager:
    """The service manager of this user, asked by ``systemctl``.

    Every order raises ``NoServiceManagerError`` where none answers, and ``ServiceError`` with systemd's own words where
    it is refused.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._env = {**(os.environ if environ is None else environ), "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        runtime = f"/run/user/{os.geteuid()}"
        if not self._env.get("XDG_RUNTIME_DIR") and Path(runtime).is_dir():
            # As after su: the manager is there, the environment of a login is not.
            self._env["XDG_RUNTIME_DIR"] = runtime

    def version(self) -> str:
        """Return systemd's version: whether a manager answers at all."""
        return self._systemctl("show", "--property=Version", "--value").strip()

    def environment(self) -> dict[str, str]:
        """Return what services of this user find in their environment.

        What systemd has to quote (line ends, quotes) is left out: no option of a host depends on that.
        """
        lines = self._systemctl("show-environment").splitlines()
        pairs = (line.partition("=") for line in lines)
        return {name: value for name, _, value in pairs if name and not value.startswith("$'")}

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit by their names; those of one that does not exist are systemd's defaults."""
        said = self._systemctl("show", f"--property={','.join(names)}", "--", unit)
        found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return {name: found.get(name, "") for name in names}

    def reload(self) -> None:
        """Have unit files read again."""
        self._systemctl("daemon-reload")

    def enable(self, unit: str) -> None:
        """Have a unit started with what its ``WantedBy`` names now; what an earlier one named is forgotten."""
        self._systemctl("--quiet", "reenable", "--", unit)

    def disable(self, unit: str) -> None:
        """Have a unit started with nothing any more."""
        self._systemctl("--quiet", "disable", "--", unit)

    def restart(self, unit: str, limit_s: float) -> None:
        """Start a unit, or anew, and wait until it is ready."""
        self._systemctl("restart", "--", unit, limit_s=limit_s)

    def stop(self, unit: str, limit_s: float) -> None:
        """Stop a unit and wait until it has ended."""
        self._systemctl("stop", "--", unit, limit_s=limit_s)

    def forget_failure(self, unit: str) -> None:
        """Have a unit that failed be like any other that does not run."""
        self._systemctl("reset-failed", "--", unit)

    def _systemctl(self, *words: str, limit_s: float = _ANSWER_LIMIT_S) -> str:
        try:
            return _run(
                ["systemctl", "--user", "--no-pager", "--no-ask-password", *words], self._env, limit_s
            )
        except ServiceError as error:
            if any(words in error.cause for words in _LOST):
                raise self._nobody_answers() from error
            raise

    def _nobody_answers(self) -> NoServiceManagerError:
        user = user_name()
        if not _BOOTED.is_dir():
            return NoServiceManagerError(
                "this machine does not run systemd",
                f"start `punktfunk serve` by what starts programs here ({_PAGE})",
            )
        return NoServiceManagerError(
            f"no service manager of the user {user} answers",
            f"log in as {user}, not by su or sudo: ssh {user}@localhost, or sudo machinectl shell {user}@",
        )


def lingers(user: str) -> bool:
    """Return whether logind keeps a user's services running without a login.

    Raises ``NoServiceManagerError`` where no logind answers.
    """
    try:
        said = _run(
            ["loginctl", "show-user", "--property=Linger", "--value", "--", user], _plain(), _ANSWER_LIMIT_S
        )
    except ServiceError as error:
        # Of users that are neither logged in nor lingering it knows nothing.
        if "not logged in or lingering" in error.cause or "not known" in error.cause:
            return False
        raise NoServiceManagerError(
            f"logind does not answer: {error.cause}", "systemctl status systemd-logind"
        ) from error
    return said.strip() == "yes"


def let_linger(user: str) -> None:
    """Have logind start a user's services at boot. Raises ``LingerError`` with the command for who may order that."""
    try:
        _run(["loginctl", "--no-ask-password", "enable-linger", "--", user], _plain(), _ANSWER_LIMIT_S)
    except ServiceError as error:
        raise LingerError(
            f"{user} may not have services run without a login: {error.cause}",
            f"sudo loginctl enable-linger {user}, then the same command again",
        ) from error


def _plain() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}


def _run(command: list[str], env: Mapping[str, str], limit_s: float) -> str:
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise NoServiceManagerError(
            f"{command[0]} is not installed: this machine does not run systemd",
            f"start `punktfunk serve` by what starts programs here ({_PAGE})",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"{' '.join(command[:2])} did not answer within {limit_s:.0f} s",
            "look with: systemctl --user status",
        ) from error
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split()) or f"status {done.returncode}"
        raise ServiceError(words)
    return done.stdout
