"""Inside the virtual machine: what a person would do with the service, step by step, each timed.

Run as root by a unit of the machine, with the number of the boot; needs nothing but Python. Writes a JSON line a step
to /out/steps and stops at the first that fails.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

USER = "player"
UID = 1001
HOME = Path("/home") / USER
STATE = HOME / ".config" / "punktfunk"
NAME = "punktfunk.service"
UNITS = HOME / ".config" / "systemd" / "user"
PUNKTFUNK = ("/venv/bin/python", "-m", "punktfunk")
OPTIONS = ("--source=synthetic", "--frame-bytes=4000", "--frames=30", "--bind=127.0.0.1", "--no-mdns")
WATCHDOG_S = 15
TRIES = 4
START_S = 300
"""An emulated processor beside a busy machine is slow."""
ENV = {
    "HOME": str(HOME),
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "XDG_RUNTIME_DIR": f"/run/user/{UID}",
    "COLUMNS": "200",
    "LANG": "C.UTF-8",
}
DESKTOP = """\
[Unit]
Description=what a desktop of this user brings with it
BindsTo=graphical-session.target
Before=graphical-session.target
"""


class StepError(Exception):
    """A step did not do what it promises."""


def main() -> None:
    """Run the steps of a boot, and turn the machine off."""
    steps = {"1": FIRST_BOOT, "2": SECOND_BOOT}[sys.argv[1]]
    try:
        for title, step in steps:
            began = time.monotonic()
            try:
                said, ok = step(), True
            except (StepError, OSError, subprocess.SubprocessError) as error:
                said, ok = str(error), False
            tell({"title": title, "seconds": round(time.monotonic() - began, 1), "ok": ok, "said": said})
            if not ok:
                keep_journal()
                return
        tell({"done": sys.argv[1]})
    finally:
        subprocess.run(["systemctl", "poweroff", "--no-block"], check=False)


def tell(line: dict[str, object]) -> None:
    """Write a line where the machine outside reads it."""
    with Path("/out/steps").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def keep_journal() -> None:
    """Leave all that was logged outside, for whoever looks for the fault."""
    with Path("/out/journal").open("wb") as file:
        subprocess.run(["journalctl", "--no-pager", "--output=short-monotonic"], stdout=file, check=False)


def root(*words: str) -> str:
    """Run a command as root and return what it printed; raise with its words when it fails."""
    return run(words)


def player(*words: str) -> str:
    """Run a command as the user, who is logged in or lingers."""
    return run(words, as_player=True)


def punktfunk(*words: str) -> str:
    """Run the program as the user."""
    return player(*PUNKTFUNK, *words)


def refused(*words: str) -> str:
    """Run the program as the user, where it is to end with status 4, and return its complaint."""
    return run((*PUNKTFUNK, *words), as_player=True, fails_with=4)


def run(words: tuple[str, ...], *, as_player: bool = False, fails_with: int = 0) -> str:
    """Run a command and return its output, or its complaint where it is to fail."""
    who: dict[str, Any] = {}
    if as_player:
        # Not by runuser: PAM takes an emulated processor longer than what it is asked for.
        group = pwd.getpwnam(USER).pw_gid
        groups = os.getgrouplist(USER, group)
        who = {"user": UID, "group": group, "extra_groups": groups, "env": ENV}
    done = subprocess.run(
        words, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False, **who
    )  # fmt: skip
    if done.returncode != fails_with:
        raise StepError(f"{shlex.join(words[-6:])} ended with {done.returncode}: {done.stdout} {done.stderr}")
    return done.stderr if fails_with else done.stdout


def until(holds: Callable[[], bool], what: str, limit_s: float = 240.0) -> None:
    """Wait until something holds; asked now and then, for asking takes an emulated processor half a second."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            raise StepError(f"waited {limit_s:.0f} s in vain: {what}")
        time.sleep(2)


def need(holds: bool, what: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise StepError(what)


def of_unit(name: str) -> str:
    """Return a property of the service."""
    return player("systemctl", "--user", "show", "--value", f"--property={name}", NAME).strip()


def begun_by_itself() -> None:
    """Wait until systemd has begun to start the service, then until that start is over."""
    until(lambda: of_unit("ActiveState") in {"activating", "active"}, "the service starts by itself")
    player("systemctl", "--user", "start", NAME)
    need(is_ready(), of_unit("ActiveState"))


def is_ready() -> bool:
    """Return whether the host has told systemd that clients can connect."""
    return of_unit("ActiveState") == "active"


def journal() -> str:
    """Return what the user reads of the service."""
    return player("journalctl", "--user", "--unit", NAME, "--no-pager", "--output=cat")


def connect() -> str:
    """Stream as the client that was paired, and return its verdict.

    A client gives a silent host up after 8 s, in which an emulated processor beside a busy machine may not start a
    worker: it is let in all the same, and tries again.
    """
    words = ("connect", "127.0.0.1", "--mode", "320x240@30", "--state-dir", f"{HOME}/client")
    for _ in range(TRIES - 1):
        try:
            return verdict(punktfunk(*words))
        except StepError as error:
            if "no packet of the stream came" not in str(error):
                raise
    return verdict(punktfunk(*words))


def verdict(said: str) -> str:
    """Return what a client found of its frames."""
    match = re.search(r"verification passed: .*", said)
    need(match is not None, said)
    return match[0] if match else ""


def booted() -> str:
    """Make the user and the machine's modules known, where that was not done."""
    if not HOME.exists():
        root("useradd", "--create-home", "--uid", str(UID), USER)
        root("cp", "-r", "/modules/.", "/usr/lib/modules/")
        root("depmod")
        UNITS.mkdir(parents=True)
        (UNITS / "desktop.target").write_text(DESKTOP)
        (UNITS / f"{NAME}.d").mkdir()
        (UNITS / f"{NAME}.d" / "watchdog.conf").write_text(
            f"[Service]\nWatchdogSec={WATCHDOG_S}\nTimeoutStartSec={START_S}\n"
        )
        root("chown", "-R", f"{USER}:", str(HOME))
    uptime = Path("/proc/uptime").read_text().split()[0]
    return f"user space and multi-user.target after {uptime} s"


def gamepads() -> str:
    """Install the udev rule: the kernel's node is the group's then."""
    said = refused("service", "gamepads", "--install")
    need("sudo" in said and "PF220" in said, said)
    root(*PUNKTFUNK, "service", "gamepads", "--install", "--user", USER)
    root("udevadm", "verify", "/etc/udev/rules.d/70-punktfunk.rules")
    node = Path("/dev/uinput")
    until(lambda: node.exists() and node.group() == "punktfunk", "the node is the group's")
    return f"/dev/uinput {oct(node.stat().st_mode & 0o777)[2:]} root:{node.group()}"


def log_in() -> str:
    """Open a session as a display manager does, by PAM."""
    root(
        *("systemd-run", "--quiet", "--unit=login", f"--property=User={USER}", "--property=PAMName=login"),
        *("--property=Environment=XDG_SESSION_TYPE=wayland", "sleep", "infinity"),
    )
    until(lambda: Path(f"/run/user/{UID}/bus").exists(), "the user's manager is there")
    return root("loginctl", "list-sessions", "--no-legend").strip()


def install_for_the_session() -> str:
    """Install it: nothing runs before the desktop does."""
    said = punktfunk("service", "install", "--", *OPTIONS)
    need("none that systemd knows of runs now" in said, said)
    need(of_unit("ActiveState") == "inactive", of_unit("ActiveState"))
    player("systemd-analyze", "--user", "verify", str(UNITS / NAME))
    return "enabled with graphical-session.target"


def starts_at_login() -> str:
    """Begin the graphical session: the service starts by itself and says that it is ready."""
    player("systemctl", "--user", "start", "desktop.target")
    begun_by_itself()
    return of_unit("StatusText")


def pair_and_stream() -> str:
    """Arm, pair, stream: the client is known from now on."""
    pin = punktfunk("arm").partition("--pin ")[2].partition(" ")[0]
    punktfunk("pair", "127.0.0.1", "--pin", pin, "--state-dir", f"{HOME}/client")
    return connect()


def watchdog() -> str:
    """Have the host stand still: systemd kills and restarts it, and the client streams without pairing again."""
    before, trust = of_unit("MainPID"), (STATE / "trust.json").read_bytes()
    root("kill", "-STOP", before)
    began = time.monotonic()
    until(lambda: of_unit("NRestarts") != "0", "systemd has started it anew")
    begun_by_itself()
    took = time.monotonic() - began
    need(of_unit("MainPID") != before, "it is the same process")
    need((STATE / "trust.json").read_bytes() == trust, "the list of clients has changed")
    log = root("journalctl", f"_UID={UID}", "--no-pager", "--output=cat")
    need("Watchdog timeout" in log and "Fatal Python error: Aborted" in log, "the journal does not say why")
    return f"ready again {took:.1f} s after it stood still (WatchdogSec={WATCHDOG_S}); {connect()}"


def reads_its_log() -> str:
    """Read the journal as the user: banner and sessions are there, and nothing that signs in."""
    log = journal()
    need("native host" in log and "fingerprint" in log, log)
    need("#ticket=" not in log, "a link that signs in is in the journal")
    return f"{len(log.splitlines())} lines"


def log_out() -> str:
    """End the session: the service ends with it, in good order."""
    player("systemctl", "--user", "stop", "desktop.target")
    until(lambda: of_unit("ActiveState") == "inactive", "the service has ended")
    need(of_unit("Result") == "success", of_unit("Result"))
    return "stopped, result success"


def headless() -> str:
    """Install it for the machine, hardened; who may not linger is told the command."""
    words = ("service", "install", "--with", "headless", "--hardened", "--", *OPTIONS)
    root("systemctl", "mask", "--runtime", "--now", "polkit.service")
    said = refused(*words)
    need("sudo loginctl enable-linger player" in said and "PF562" in said, said)
    root("systemctl", "unmask", "--runtime", "polkit.service")
    said = punktfunk(*words)
    need("from boot on; it runs now" in said and is_ready(), said)
    need(of_unit("NoNewPrivileges") == "yes", "it is not hardened")
    return "refused where polkit is not asked, allowed where it is; runs"


def starts_at_boot() -> str:
    """Nobody logs in: the service is ready all the same."""
    until(lambda: Path(f"/run/user/{UID}/bus").exists(), "the user's manager is there")
    begun_by_itself()
    classes = root("loginctl", "list-sessions", "--no-legend")
    need("user" not in {word for line in classes.splitlines() for word in line.split()[5:6]}, classes)
    uptime = Path("/proc/uptime").read_text().split()[0]
    return f"{of_unit('StatusText')}, {uptime} s after the kernel began"


def plugs_in_a_gamepad() -> str:
    """Make a pad by the kernel's uinput as the user, and read what it does as a game would."""
    said = player("/venv/bin/python", "/guest/pad.py")
    need("read" in said, said)
    return said.strip()


def hardened() -> str:
    """Do under the unit's own restrictions what they are to leave alone."""
    text = (UNITS / NAME).read_text().partition("NoNewPrivileges")
    kept = (text[1] + text[2]).partition("\n[")[0].split("\n")
    properties = [f"--property={line}" for line in kept if line]
    player(
        *("systemd-run", "--user", "--quiet", "--wait", "--collect", *properties),
        *("sh", "-c", "unshare --user --map-root-user --pid --fork --mount-proc true && exec 3<>/dev/uinput"),
    )
    return "unshare --user --pid --mount-proc, and /dev/uinput opened for writing"


def remove() -> str:
    """Take the service away: nothing runs, and the client is still known."""
    punktfunk("service", "remove")
    need(not (UNITS / NAME).exists() and (STATE / "trust.json").exists(), "files")
    need(of_unit("LoadState") == "not-found", of_unit("LoadState"))
    running = root("ps", "-C", "systemd", "-o", "args=") + root("ps", "-u", USER, "-o", "args=")
    need("punktfunk serve" not in running, running)
    return f"{len(json.loads((STATE / 'trust.json').read_text())['clients'])} client still paired"


FIRST_BOOT: tuple[tuple[str, Callable[[], str]], ...] = (
    ("the machine boots", booted),
    ("service gamepads --install: refused to a user, done by root", gamepads),
    ("a user logs in", log_in),
    ("service install", install_for_the_session),
    ("the graphical session begins: it starts by itself", starts_at_login),
    ("arm, pair, connect", pair_and_stream),
    ("SIGSTOP: killed by the watchdog, restarted, still paired", watchdog),
    ("the journal", reads_its_log),
    ("the session ends: it stops", log_out),
    ("service install --with headless --hardened: lingering", headless),
)
SECOND_BOOT: tuple[tuple[str, Callable[[], str]], ...] = (
    ("the machine boots again", booted),
    ("nobody logs in: it starts by itself", starts_at_boot),
    ("connect: still paired", connect),
    ("a gamepad by the kernel's uinput", plugs_in_a_gamepad),
    ("hardened: namespaces and /dev/uinput", hardened),
    ("service remove: pairing stays", remove),
)

if __name__ == "__main__":
    main()
