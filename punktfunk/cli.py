"""The ``punktfunk`` program: stream from this machine, look at another one.

Hosts, clients and desktops are imported by the command that runs them: no other one waits for them.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from punktfunk import (
    cli_client,
    cli_desktop,
    cli_encoders,
    cli_gamestream,
    cli_grants,
    cli_reach,
    cli_serve,
    cli_service,
    log,
)
from punktfunk.cli_run import fail
from punktfunk.errors import PunktfunkError
from punktfunk.host.native.pairing import DEFAULT_WINDOW_S, MAX_WINDOW_S, MIN_WINDOW_S
from punktfunk.terminal import say
from punktfunk.trust.identity import Identity, Role
from punktfunk.trust.state_dir import default_state_dir

if TYPE_CHECKING:
    from punktfunk.mgmt.remote import RunningHost

app = typer.Typer(
    help="Low-latency desktop streaming.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _front(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details to standard error.")] = False,
) -> None:
    # In a journal, what a host does is asked about later; whoever started it in a terminal sees it.
    usual: log.Level = "info" if log.is_journal(sys.stderr) else "warning"
    log.configure(level="debug" if verbose else usual)


@app.command()
def version() -> None:
    """Print the versions of this program, its native core and its wire."""
    from punktfunk.core._core import ABI_VERSION
    from punktfunk.core._core import __version__ as core_version

    try:
        packaged = metadata.version("punktfunk")
    except metadata.PackageNotFoundError:
        packaged = "(not installed)"
    say(f"punktfunk {packaged} · core {core_version} (ABI {ABI_VERSION}) · wire punktfunk/1")


app.command()(cli_serve.host)
app.command()(cli_serve.serve)


@app.command()
def console(
    state_dir: Annotated[Path | None, typer.Option(help="State folder of the running host.")] = None,
) -> None:
    """Print a link that signs a browser in to the running host's console, once and within 10 minutes."""
    try:
        say(_running_host(state_dir).console_link())
    except PunktfunkError as error:
        fail(error)


@app.command(name="pin")
def enter_pin_of_client(
    digits: Annotated[
        str | None, typer.Argument(metavar="[PIN]", help="The digits; left out: list the clients that wait.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="First digits of the client's fingerprint, where several wait.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the client from now on.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="State folder of the running host.")] = None,
) -> None:
    """Enter the PIN that a Moonlight client shows, and so let it pair with the running host.

    Each entry is one guess: with a wrong PIN the client has to begin anew.
    """
    from punktfunk.mgmt.pin_entry import enter_pin, waiting_devices

    try:
        running = _running_host(state_dir)
        if digits is None:
            for waiting in waiting_devices(running):
                say(str(waiting))
        else:
            chosen = enter_pin(running, digits, device, name)
            say(f"{name or chosen.name} at {chosen.address} goes on with that PIN")
    except PunktfunkError as error:
        fail(error)


@app.command()
def arm(
    seconds: Annotated[
        int, typer.Option(min=MIN_WINDOW_S, max=MAX_WINDOW_S, help="How long the PIN is valid.")
    ] = DEFAULT_WINDOW_S,
    state_dir: Annotated[Path | None, typer.Option(help="State folder of the running host.")] = None,
) -> None:
    """Arm pairing at the running host and print the PIN, which one device can use once."""
    from punktfunk.mgmt.pin_entry import arm_pairing

    try:
        running = _running_host(state_dir)
        pin, left = arm_pairing(running, seconds)
        say(f"punktfunk pair HOST --pin {pin}  (within {left} s, on the device that is to connect)")
    except PunktfunkError as error:
        fail(error)


def _running_host(state_dir: Path | None) -> RunningHost:
    from punktfunk.host.serve import LOCK_FILE
    from punktfunk.mgmt.remote import RunningHost

    folder = state_dir or default_state_dir()
    certificate, _ = Identity.paths(folder, Role.HOST)
    return RunningHost.find(folder, certificate=certificate, lock=folder / LOCK_FILE)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the management API."""
    from punktfunk.mgmt.document import document_text

    sys.stdout.write(document_text())


app.command()(cli_client.connect)
app.command()(cli_client.pair)
app.command()(cli_client.probe)


app.command()(cli_reach.doctor)
app.command(name="discover")(cli_client.discover_hosts)
app.command()(cli_reach.wake)
app.add_typer(cli_gamestream.app, name="gamestream")
app.add_typer(cli_grants.app, name="desktop")
app.add_typer(cli_service.app, name="service")
app.command()(cli_desktop.record)
app.command()(cli_encoders.encoders)
app.command(name="testcard")(cli_desktop.draw_testcard)


def main() -> None:
    """Run the program."""
    try:
        app(standalone_mode=True)
    except PunktfunkError as error:
        fail(error)
