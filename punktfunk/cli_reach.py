"""``punktfunk doctor`` and ``wake``: what this machine can do, whether it reaches a host, and how that wakes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from punktfunk.cli_run import config_of, fail, run
from punktfunk.client.config import ClientConfig
from punktfunk.errors import PunktfunkError
from punktfunk.trust.state_dir import default_state_dir

_TABLE_WIDTH = 160


def doctor(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST[:PORT]", help="Look at the way to this host instead."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="State folder: of this host, for what it was granted, and of known hosts."),
    ] = None,
) -> None:
    """Show what this machine can stream, who uses it, and the command that fixes what is missing.

    With a host, show whether this machine reaches it, by which addresses and wires, and what is in the way.
    """
    from punktfunk import findings
    from punktfunk.rich_terminal import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _TABLE_WIDTH)
    if host is None:
        from punktfunk.host import doctor as examination

        found = examination.examine(state_dir or default_state_dir())
    else:
        from punktfunk.client.reach import examine_host

        try:
            found = asyncio.run(examine_host(host, state_dir or default_state_dir()))
        except PunktfunkError as error:
            fail(error)
    raise typer.Exit(findings.show(found, console, as_json=as_json))


def wake(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="Address or name of a paired host, or a hardware address.")
    ],
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Wait this long until it answers; 0: do not wait.")
    ] = 0.0,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's known hosts.")] = None,
) -> None:
    """Wake a paired host that sleeps in this machine's network, by Wake-on-LAN.

    Its hardware address was remembered when it was last reached from its own network.
    """
    config = config_of(ClientConfig, state_dir=state_dir or default_state_dir())

    async def waking(config: ClientConfig) -> int:
        from punktfunk.client.wake import wake_host

        assert config.state_dir is not None
        return await wake_host(host, config.state_dir, wait_s=wait)

    run(waking, config)
