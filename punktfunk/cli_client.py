"""The commands that make a client of this machine: stream from a host, pair with one, measure the path, find them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from punktfunk.cli_run import config_of, fail, run
from punktfunk.client.config import ClientConfig
from punktfunk.errors import PunktfunkError, UsageError
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.state_dir import default_state_dir
from punktfunk.units import Bitrate


class PointerKind(StrEnum):
    """Who draws the host's pointer."""

    AUTO = "auto"
    PAINTED = "painted"


def connect(  # noqa: PLR0917 - the options of a command line
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Address or name of the host.")],
    mode: Annotated[str, typer.Option(help="Mode to ask for.")] = "1280x720@60",
    bitrate: Annotated[str | None, typer.Option(help="Bitrate to ask for; default: the host's.")] = None,
    app_: Annotated[
        str | None,
        typer.Option("--app", help="Title or number of an app there; default: what the host streams."),
    ] = None,
    quit_: Annotated[bool, typer.Option("--quit", help="End the app with the stream.")] = False,
    pin: Annotated[str | None, typer.Option(help="Fingerprint that the host must have.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after this long.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for frame records and statistics.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the coded video to.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Let --out replace a file that is there.")] = False,
    present: Annotated[
        bool, typer.Option("--present", help="Show the stream in a window and send its input.")
    ] = False,
    cursor: Annotated[
        PointerKind,
        typer.Option(
            help="auto: the window draws the pointer where the host leaves it; painted: the host does."
        ),
    ] = PointerKind.AUTO,
    decode: Annotated[bool, typer.Option(help="Decode the video.")] = True,
    name: Annotated[str | None, typer.Option(help="Name of this device.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
) -> None:
    """Receive a host's stream and print what it is like, a line a second.

    A host that announces a number of test frames is verified: every one has to arrive intact.
    """
    config = config_of(
        ClientConfig,
        address=address,
        app=app_,
        quit_after=quit_,
        pin=pin,
        # Without a pin a host is taken on loopback and nowhere else.
        trust=OpenTrust.LOOPBACK,
        state_dir=state_dir or default_state_dir(),
        name=name,
        mode=mode,
        bitrate=bitrate,
        seconds=seconds,
        decode=decode,
        present=present,
        cursor=cursor.value,
        artefacts=record,
        out=out,
    )
    if present and not decode:
        fail(UsageError("--present shows decoded pictures", "leave --no-decode out"))

    async def stream(config: ClientConfig) -> int:
        from punktfunk.client.commands import receive

        return await receive(config, overwrite=overwrite)

    run(stream, config)


def pair(
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Address or name of the host.")],
    pin: Annotated[str | None, typer.Option(help="PIN that the host shows; asked for when left out.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this device, shown at the host.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
) -> None:
    """Pair this device with a host: arm pairing there, type the PIN here.

    The host is remembered, and connections to it are pinned from then on.
    """
    folder = state_dir or default_state_dir()
    config = config_of(ClientConfig, address=address, state_dir=folder, name=name)
    shown = pin if pin is not None else typer.prompt("PIN")

    async def pairing(config: ClientConfig) -> int:
        from punktfunk.client.commands import pair_device

        return await pair_device(config, shown)

    run(pairing, config)


def probe(  # noqa: PLR0917 - the options of a command line
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Address or name of the host.")],
    limit: Annotated[str, typer.Option(help="Highest rate to try.")] = "1 Gbit/s",
    fps: Annotated[int, typer.Option(min=1, max=1000, help="Frames per second to judge for.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    pin: Annotated[str | None, typer.Option(help="Fingerprint that the host must have.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this device.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
) -> None:
    """Measure the path from a host: capacity, loss, delay, reordering, and the settings that fit it.

    Takes about ten seconds and fills the path meanwhile. This device's own stream from that host, if it has
    one, is ended by it.
    """
    config = config_of(
        ClientConfig,
        address=address,
        pin=pin,
        trust=OpenTrust.LOOPBACK,
        state_dir=state_dir or default_state_dir(),
        name=name,
    )
    try:
        highest = Bitrate.parse(limit)
    except PunktfunkError as error:
        fail(error)

    async def measure(config: ClientConfig) -> int:
        from punktfunk.client.probe_command import probe_path

        return await probe_path(config, limit=highest, fps=fps, as_json=as_json)

    run(measure, config)


def discover_hosts(
    seconds: Annotated[float, typer.Option(help="How long to listen.")] = 2.0,
    interface: Annotated[
        list[str] | None, typer.Option(help="Address of this machine to ask from; default: all.")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's known hosts.")] = None,
) -> None:
    """List the hosts of the local network."""
    config = config_of(ClientConfig, state_dir=state_dir or default_state_dir())

    async def listen(config: ClientConfig) -> int:
        from punktfunk.client.commands import list_hosts

        return await list_hosts(config, seconds, interface or [])

    run(listen, config)
