"""``punktfunk service``: a host that starts by itself, with what its machine has to allow it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from punktfunk.cli_run import fail
from punktfunk.errors import CapabilityError, PunktfunkError, UsageError
from punktfunk.gamestream.ports import Ports
from punktfunk.host.firewall import active_firewall, opening, ranges
from punktfunk.host.systemd import gamepads as rule
from punktfunk.host.systemd.installation import Installation, program, refuse_sudo, unit_path
from punktfunk.host.systemd.manager import UserManager, user_name
from punktfunk.host.systemd.unit import NAME, Session, Unit
from punktfunk.terminal import say, say_json
from punktfunk.trust.state_dir import default_state_dir

if TYPE_CHECKING:
    from punktfunk.host.systemd.installation import ServiceState

app = typer.Typer(
    help="Have a host start by itself, as a systemd service of this user.", no_args_is_help=True
)

_NOT_OF_A_SERVICE: Final = {
    "arm": "a PIN would be armed at each start: punktfunk arm shows one when it is wanted",
    "check": "install checks the options anyway",
}
_NOT_RUNNING: Final = 1
_MDNS_PORT: Final = 5353
_DESKTOP_OPTIONS: Final = frozenset({"source", "desktop", "app_"})


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Options of ``serve`` as a unit keeps them, and the ports that they make."""

    words: tuple[str, ...]
    tcp: tuple[int, ...]
    udp: tuple[int, ...]


@app.command()
def install(
    context: typer.Context,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- OPTION", help="Of `punktfunk serve`, for the host."),
    ] = None,
    session: Annotated[
        Session,
        typer.Option(
            "--with", help="What starts it: the graphical session, or (headless) the machine itself."
        ),
    ] = Session.GRAPHICAL,
    hardened: Annotated[
        bool,
        typer.Option(
            "--hardened",
            help="Let nothing that it starts gain rights: no sudo, no snaps, no AppImages in its desktop.",
        ),
    ] = False,
) -> None:
    """Install the service, start it where what starts it is there, and say what else the machine has to allow.

    Give the command again to change its options. Paired clients stay paired, whatever happens to the service.
    """
    try:
        refuse_sudo()
        served = serve_options(context, options or [], session)
        unit = Unit(session, program(), served.words, hardened)
        runs = Installation(UserManager(), unit_path()).install(unit, say)
    except PunktfunkError as error:
        fail(error)
    if session is Session.HEADLESS:
        say("starts       from boot on; it runs now")
    else:
        now = "it runs now" if runs else "none that systemd knows of runs now"
        say(f"starts       with the graphical session; {now}")
    _say_machine(served.tcp, served.udp)
    say("pair         punktfunk arm, or in a browser: punktfunk console")
    say(f"log          journalctl --user --unit {NAME} --follow")
    say("next         punktfunk service status")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Show whether the service runs and what it says; exit status 0 where it runs, else 1."""
    try:
        state = Installation(UserManager(), unit_path()).state()
    except PunktfunkError as error:
        fail(error)
    if as_json:
        say_json(_as_json(state), indent=2)
    else:
        for line in _status_lines(state):
            say(line)
    raise typer.Exit(0 if state.running else _NOT_RUNNING)


@app.command()
def remove() -> None:
    """Stop the service and remove its unit. Identity, paired clients and settings stay, and drop-ins of your own."""
    try:
        refuse_sudo()
        there = Installation(UserManager(), unit_path()).remove()
    except PunktfunkError as error:
        fail(error)
    say(f"removed      {unit_path()}" if there else "removed      there was no service")
    if there:
        say(f"kept         {default_state_dir()}, with every client that is paired")
        say(f"lingering    is as it was; no other service needs it? loginctl disable-linger {user_name()}")


@app.command()
def gamepads(
    install_: Annotated[bool, typer.Option("--install", help="Install it; as root.")] = False,
    user: Annotated[
        str | None, typer.Option(help="Who runs the host; default: you.", show_default=False)
    ] = None,
) -> None:
    """Show the udev rule by which a host may plug in gamepads, and the commands that install it; or install it."""
    who = user or os.environ.get("SUDO_USER") or user_name()
    try:
        if install_:
            rule.install(who, say)
            say("next         log in again, or headless: reboot")
            return
    except PunktfunkError as error:
        fail(error)
    say(f"# {rule.RULES_FILE}")
    say(rule.RULES)
    say("# as root:")
    for command in rule.commands(who):
        say(command)


def serve_options(context: typer.Context, options: list[str], session: Session) -> ServeOptions:
    """Read options as ``serve`` does, and return them as a service has them: whole paths, nothing of this shell.

    ``context`` is that of any command. Raises ``UsageError`` for an option that no service has, and what ``serve`` says
    of one that it does not know.
    """
    group: Any = context.find_root().command
    command = group.get_command(context, "serve")
    read = command.make_context("serve", list(options), parent=context.find_root())
    words, named = [], set()
    for parameter in command.params:
        source = read.get_parameter_source(parameter.name)
        if source is None or source.name != "COMMANDLINE":
            continue
        option = parameter.opts[0]
        if parameter.name in _NOT_OF_A_SERVICE:
            raise UsageError(f"a service has no {option}", _NOT_OF_A_SERVICE[parameter.name])
        named.add(parameter.name)
        value = read.params[parameter.name]
        if isinstance(value, bool):
            words.append(option if value else parameter.secondary_opts[0])
        else:
            words.append(f"{option}={_word(value)}")
    if session is Session.HEADLESS and named.isdisjoint(_DESKTOP_OPTIONS):
        # What "auto" finds would depend on who happens to be logged in when the service starts.
        words.append("--desktop=headless-sway")
    if "state_dir" not in named and default_state_dir() != Path.home() / ".config" / "punktfunk":
        # A service has the environment of the user's manager, not that of this shell.
        words.append(f"--state-dir={_word(default_state_dir())}")
    return ServeOptions(tuple(words), *_ports(read.params))


def _word(value: object) -> str:
    if isinstance(value, Path):
        return os.fspath(Path(os.path.abspath(value)))  # noqa: PTH100 - links stay what they are
    return str(value.value if isinstance(value, Enum) else value)


def _ports(served: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ports that clients come by, TCP and UDP."""
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    if served["native"]:
        udp += (served["native_port"],)
    if served["gamestream"] is not False:
        ports = Ports(served["gamestream_port"])
        tcp, udp = tcp + ports.tcp, udp + ports.udp
    if served["mdns"]:
        udp += (_MDNS_PORT,)
    return tcp, udp


def _say_machine(tcp: tuple[int, ...], udp: tuple[int, ...]) -> None:
    """Print which ports a firewall has to let through, and whether gamepads can be plugged in."""
    kinds = (("TCP", ranges(tcp)), ("UDP", ranges(udp)))
    say("ports        " + ", ".join(f"{kind} {' '.join(ports)}" for kind, ports in kinds if ports))
    firewall = active_firewall()
    command = opening(firewall or "nftables", tcp, udp, lasting=True)
    say(f"firewall     {firewall or 'none was found here; with nftables'}: as root: {command}")
    from punktfunk.desktop.uinput import require_uinput

    try:
        require_uinput("gamepads")
    except CapabilityError as error:
        say(f"gamepads     no: {error.cause} ({error.hint})")
    else:
        say("gamepads     can be plugged in")


def _status_lines(state: ServiceState) -> list[str]:
    if state.found is None:
        why = state.foreign or f"there is no {state.path}: punktfunk service install"
        return [f"unit         {why}", f"state        {state.active} ({state.sub_state})"]
    unit, watch = state.found.unit, f"{state.restarts} restart{'s' * (state.restarts != 1)} by systemd"
    said = f": {state.status}" if state.status else ""
    lines = [
        f"unit         {state.path}" + ("" if state.found.intact else " (changed after it was written)"),
        *(f"drop-in      {path}" for path in state.drop_ins),
        f"starts       with {'the machine' if unit.session is Session.HEADLESS else 'the graphical session'}"
        f" ({state.enabled})",
        f"state        {state.active} ({state.sub_state}){said}",
        f"since        {state.since or 'it was never started'}, process {state.process or 'none'}, {watch}",
        f"options      {' '.join(unit.options) or 'those that serve has by itself'}",
    ]
    if state.result not in {"", "success"}:
        lines.append(f"last end     {state.result}")
    if unit.session is Session.HEADLESS and state.lingers is False:
        lines.append(f"WARNING      it ends with the last login: sudo loginctl enable-linger {user_name()}")
    lines.append(
        f"gamepads     {'the rule is installed' if rule.installed() else 'no rule: punktfunk service gamepads'}"
    )
    lines.append(f"log          journalctl --user --unit {NAME}")
    return lines


def _as_json(state: ServiceState) -> dict[str, Any]:
    unit = None if state.found is None else state.found.unit
    return {
        "unit": str(state.path),
        "installed": unit is not None,
        "foreign": state.foreign,
        "intact": state.found is not None and state.found.intact,
        "with": None if unit is None else unit.session.value,
        "options": [] if unit is None else list(unit.options),
        "enabled": state.enabled,
        "active": state.active,
        "sub_state": state.sub_state,
        "result": state.result,
        "status": state.status,
        "process": state.process,
        "restarts": state.restarts,
        "since": state.since,
        "lingers": state.lingers,
        "drop_ins": list(state.drop_ins),
    }
