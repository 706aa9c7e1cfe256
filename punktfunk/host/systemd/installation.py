"""Install, look at and remove the unit that starts a host: all of it or nothing.

What a host knows (identity, paired clients, settings) is in its state folder, which none of this touches.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError, ForeignFileError, PunktfunkError, ServiceError, UsageError
from punktfunk.host.systemd import manager as systemd
from punktfunk.host.systemd import unit as units
from punktfunk.host.systemd.manager import UserManager
from punktfunk.host.systemd.unit import NAME, FoundUnit, Session, Unit
from punktfunk.printable import printable
from punktfunk.regular_file import read_regular
from punktfunk.trust.private_file import write_private

MAX_UNIT_BYTES: Final = 65_536
_GRAPHICAL: Final = "graphical-session.target"
_START_LIMIT_S: Final = units.START_LIMIT_S + 30.0
_STOP_LIMIT_S: Final = 60.0
_CHECK_LIMIT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the service is. Texts are systemd's own words."""

    path: Path
    """The unit file that ``install`` writes."""
    found: FoundUnit | None
    """What that file says of itself, ``None`` where there is none of ours."""
    foreign: str
    """Why the unit is not ours to change, empty where it is."""
    active: str
    sub_state: str
    result: str
    enabled: str
    status: str
    """What the host says of itself."""
    process: int
    restarts: int
    """Since the service was last started by hand or at boot."""
    since: str
    lingers: bool | None
    """Whether it runs without a login; ``None`` where nobody can tell."""
    drop_ins: tuple[str, ...] = field(default=())

    @property
    def running(self) -> bool:
        """Whether clients can connect."""
        return self.active == "active"


def program() -> tuple[str, ...]:
    """Return what runs this installation of punktfunk: its Python, which looks for modules in no working folder."""
    return (sys.executable, "-P", "-m", "punktfunk")


def unit_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's unit is or would be."""
    configured = environ.get("XDG_CONFIG_HOME")
    base = Path(configured) if configured else Path(environ.get("HOME") or Path.home()) / ".config"
    return base / "systemd" / "user" / NAME


def refuse_sudo(environ: Mapping[str, str] = os.environ) -> None:
    """Raise ``UsageError`` under sudo: what it would change belongs to root."""
    if environ.get("SUDO_UID"):
        raise UsageError("by sudo the service would be root's", "give the command as the user of the desktop")


class Installation:
    """The service of this user. ``path`` is where its unit is or will be."""

    def __init__(self, manager: UserManager, path: Path) -> None:
        self._manager = manager
        self.path = path

    def install(self, unit: Unit, tell: Callable[[str], None] = lambda _line: None) -> bool:
        """Write the unit, have it started from now on, and start it where what starts it is there; return whether.

        ``tell`` is given a line for each thing that was done. Raises ``NoServiceManagerError``, ``ForeignFileError``
        for a unit that this installation did not write, ``LingerError``, what ``serve`` says of the options, and
        ``ServiceError`` when the host does not come up; then everything is as it was, but for a permission to linger.
        """
        self._manager.version()
        former = self._require_ours(unit.program)
        self._check_options(unit, tell)
        if unit.session is Session.HEADLESS and not systemd.lingers(systemd.user_name()):
            systemd.let_linger(systemd.user_name())
            tell(f"lingering    services of {systemd.user_name()} run from boot on, without a login")
        ran = self._manager.properties(NAME, "ActiveState")["ActiveState"] == "active"
        self._write(unit.text())
        try:
            self._manager.reload()
            self._require_loaded()
            self._manager.enable(NAME)
            starts = self._starts_now(unit)
            if starts:
                self._start()
            elif ran:
                self._manager.stop(NAME, _STOP_LIMIT_S)
        except BaseException:
            self._put_back(former, ran=ran)
            raise
        tell(f"unit         {self.path}")
        return starts

    def remove(self) -> bool:
        """Stop the service and remove its unit, whichever installation wrote it; return whether it was there.

        Raises ``ForeignFileError`` for a unit that none did.
        """
        self._manager.version()
        if not self._exists():
            return False
        found, why = self._found()
        if found is None:
            raise self._foreign(why)
        self._take_away()
        return True

    def state(self) -> ServiceState:
        """Return how the service is."""
        self._manager.version()
        found, foreign = self._found() if self._exists() else (None, self._elsewhere())
        said = self._manager.properties(
            NAME, "ActiveState", "SubState", "Result", "UnitFileState", "StatusText", "MainPID", "NRestarts",
            "ActiveEnterTimestamp", "DropInPaths",
        )  # fmt: skip
        try:
            lingers = systemd.lingers(systemd.user_name())
        except ServiceError:
            lingers = None
        return ServiceState(
            path=self.path,
            found=found,
            foreign=foreign,
            active=said["ActiveState"],
            sub_state=said["SubState"],
            result=said["Result"],
            enabled=said["UnitFileState"],
            status=printable(said["StatusText"]),
            process=_number(said["MainPID"]),
            restarts=_number(said["NRestarts"]),
            since=said["ActiveEnterTimestamp"],
            lingers=lingers,
            drop_ins=tuple(said["DropInPaths"].split()),
        )

    def _require_ours(self, ours: tuple[str, ...]) -> str | None:
        """Return the text of the unit that is there, ``None`` for none; raise for one that is not ours to replace."""
        if not self._exists():
            elsewhere = self._elsewhere()
            if elsewhere:
                raise ForeignFileError(
                    elsewhere, f"use that: systemctl --user enable --now {NAME}, or remove its package"
                )
            return None
        found, why = self._found()
        if found is None:
            raise self._foreign(why)
        if not found.intact:
            raise ForeignFileError(
                f"{self.path} was changed after punktfunk wrote it",
                f"keep the changes by `systemctl --user edit {NAME}`, then punktfunk service remove, and install again",
            )
        if found.unit.program != ours and Path(found.unit.program[0]).exists():
            raise ForeignFileError(
                f"{self.path} starts another installation of punktfunk: {found.unit.program[0]}",
                "punktfunk service remove (pairing stays), then the same command again",
            )
        return self.path.read_text(encoding="utf-8")

    def _exists(self) -> bool:
        return self.path.is_symlink() or self.path.exists()

    def _found(self) -> tuple[FoundUnit | None, str]:
        """Return what the unit file says of itself, or why it is none of ours."""
        try:
            content = read_regular(self.path, MAX_UNIT_BYTES, follow=False)
        except OSError as error:
            if self.path.is_symlink():
                return None, f"{self.path} is a link to {printable(os.fspath(self.path.readlink()))}"
            return None, f"{self.path} cannot be read: {error.strerror}"
        found = units.read(content.decode("utf-8", "replace"))
        return found, "" if found is not None else f"{self.path} was not written by this punktfunk"

    def _foreign(self, why: str) -> ForeignFileError:
        return ForeignFileError(
            why, f"look at it (systemctl --user cat {NAME}), then move it away: nothing was changed"
        )

    def _elsewhere(self) -> str:
        """Return that a unit of our name is installed in another place, if it is."""
        said = self._manager.properties(NAME, "FragmentPath", "LoadState")
        if said["LoadState"] == "masked":
            return f"{NAME} is masked: {said['FragmentPath']}"
        place = said["FragmentPath"]
        return (
            f"{NAME} is installed already, as {printable(place)}" if place and place != str(self.path) else ""
        )

    def _require_loaded(self) -> None:
        place = self._manager.properties(NAME, "FragmentPath")["FragmentPath"]
        if not place or not Path(place).exists() or not self.path.samefile(place):
            raise ServiceError(
                f"the service manager does not read {self.path.parent}, but {place or 'nothing of that name'}",
                "it was started with another XDG_CONFIG_HOME: give the command with that one",
            )

    def _check_options(self, unit: Unit, tell: Callable[[str], None]) -> None:
        """Have ``serve`` judge its options as the unit would run it: elsewhere, with a service's environment."""
        try:
            done = subprocess.run(
                [*unit.program, "serve", *unit.options, "--check"],
                env=self._manager.environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_CHECK_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServiceError(
                f"{unit.program[0]} cannot be run: {error}", "install punktfunk into it"
            ) from error
        if not done.returncode:
            return
        complaint = _unfit(done.stderr, done.returncode)
        if isinstance(complaint, CapabilityError) and not self._starts_now(unit):
            # The desktop that was named begins with the session that the service waits for.
            tell(f"WARNING      as things are, {complaint.cause}")
            return
        raise complaint

    def _starts_now(self, unit: Unit) -> bool:
        return unit.session is Session.HEADLESS or self._is_active(_GRAPHICAL)

    def _start(self) -> None:
        self._forget_failure()
        try:
            self._manager.restart(NAME, _START_LIMIT_S)
        except ServiceError as error:
            result = self._manager.properties(NAME, "Result", "ExecMainStatus")
            raise ServiceError(
                f"the host does not come up ({result['Result']}, status {result['ExecMainStatus']}): {_last_words()}",
                f"journalctl --user --unit {NAME}",
            ) from error

    def _put_back(self, former: str | None, *, ran: bool) -> None:
        """Make the unit what it was before, as far as systemd lets us: the failure that led here is what is told."""
        try:
            if former is None:
                self._take_away()
                return
            self._write(former)
            self._manager.reload()
            self._manager.enable(NAME)
            if ran:
                self._manager.restart(NAME, _START_LIMIT_S)
        except ServiceError as error:
            raise ServiceError(
                f"the service could not be put back as it was: {error.cause}",
                f"systemctl --user status {NAME}",
            ) from error

    def _take_away(self) -> None:
        if self._manager.properties(NAME, "ActiveState")["ActiveState"] not in ("inactive", "failed"):
            self._manager.stop(NAME, _STOP_LIMIT_S)
        self._forget_failure()
        self._manager.disable(NAME)
        self.path.unlink(missing_ok=True)
        self._manager.reload()

    def _forget_failure(self) -> None:
        """Have a unit that has failed too often be started all the same."""
        if self._manager.properties(NAME, "ActiveState")["ActiveState"] == "failed":
            self._manager.forget_failure(NAME)

    def _is_active(self, unit: str) -> bool:
        return self._manager.properties(unit, "ActiveState")["ActiveState"] == "active"

    def _write(self, text: str) -> None:
        try:
            write_private(self.path, text.encode())
        except OSError as error:
            raise ServiceError(
                f"{self.path} cannot be written: {error.strerror}", "check the owner and mode of its folder"
            ) from error


def _unfit(stderr: str, status: int) -> PunktfunkError:
    """Return what ``serve --check`` complains of as an error with its hint."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    cause = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), "")
    hint = next((line.removeprefix("→ ") for line in lines if line.startswith("→ ")), "")
    kind = {2: UsageError, 4: CapabilityError}.get(status, ServiceError)
    why = cause or " ".join(lines[-2:]) or f"status {status}"
    return kind(f"a host with these options does not start: {why}", hint or "punktfunk serve --help")


def _last_words() -> str:
    """Return the last line that the host wrote, as far as the journal tells."""
    words = ("--identifier", "punktfunk", "--lines=3", "--output=cat", "--quiet", "--no-pager")
    try:
        done = subprocess.run(
            ["journalctl", "--user", "--unit", NAME, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "see its log"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return " ".join(lines) if lines else "see its log"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
