"""``punktfunk gamestream``: a client of GameStream hosts without a window, this project's and others'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict

from punktfunk.cli_run import default_state_dir, run

app = typer.Typer(
    help="Receive from a GameStream host, without a window: pair, list its apps, quit.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Address = Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Address or name; the port of HTTP.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]
StateDir = Annotated[Path | None, typer.Option(help="Folder of the client's identity and known hosts.")]


class _Nothing(BaseModel):
    """What the commands without a stream are configured with."""

    model_config = ConfigDict(extra="forbid")


@app.command()
def pair(
    address: Address,
    name: Annotated[str | None, typer.Option(help="Name of this device, shown at the host.")] = None,
    pin: Annotated[str | None, typer.Option(help="PIN to use; default: drawn anew.")] = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Pair with a host: a PIN is shown here, which has to be typed there."""

    async def pairing(_: _Nothing) -> int:
        from punktfunk.client.gamestream.host_commands import pair_device

        folder = state_dir or default_state_dir()
        return await pair_device(address, folder, name=name, pin=pin, as_json=as_json)

    run(pairing, _Nothing())


@app.command(name="list")
def list_(address: Address, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """List the apps of a host that was paired with."""

    async def listing(_: _Nothing) -> int:
        from punktfunk.client.gamestream.host_commands import list_apps

        return await list_apps(address, state_dir or default_state_dir(), as_json=as_json)

    run(listing, _Nothing())


@app.command(name="quit")
def quit_(address: Address, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """End the app that runs at a host."""

    async def quitting(_: _Nothing) -> int:
        from punktfunk.client.gamestream.host_commands import quit_app

        return await quit_app(address, state_dir or default_state_dir(), as_json=as_json)

    run(quitting, _Nothing())
