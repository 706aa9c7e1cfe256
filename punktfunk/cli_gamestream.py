"""``punktfunk gamestream``: a client of GameStream hosts without a window, this project's and others'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from punktfunk.cli_run import config_of, run
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.trust.state_dir import default_state_dir

app = typer.Typer(
    help="Receive from a GameStream host, without a window: pair, list its apps, stream, quit.",
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


@app.command()
def stream(  # noqa: PLR0917 - the options of a command line
    address: Address,
    app_: Annotated[
        str | None, typer.Option("--app", help="Title or number; default: what runs, or the first.")
    ] = None,
    mode: Annotated[str, typer.Option(help="Such as 1280x720@60.")] = "1280x720@60",
    bitrate: Annotated[str, typer.Option(help="For everything, such as '20 Mbit/s'.")] = "20 Mbit/s",
    codec: Annotated[
        list[str] | None, typer.Option(help="h264, hevc or av1, the preferred one first; default: h264.")
    ] = None,
    packet_bytes: Annotated[int | None, typer.Option(help="packetSize, a multiple of 16.")] = None,
    channels: Annotated[int, typer.Option(help="Of the sound: 2, 6 or 8.")] = 2,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Ask for encrypted video and sound.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End after this long.")] = None,
    decode: Annotated[bool, typer.Option(help="Decode video and sound.")] = True,
    record: Annotated[
        Path | None, typer.Option(help="Folder for frame records, sound and statistics.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the coded video to.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Let --out replace a file that is there.")] = False,
    quit_after: Annotated[bool, typer.Option("--quit-after", help="End the app with the stream.")] = False,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Launch or resume an app and receive its stream, a line a second.

    With --json, lines on standard input are obeyed: key frames, text, keys, clicks, wheel and pointer.
    """
    optional: dict[str, Any] = {"packet_bytes": packet_bytes, "codecs": codec}
    config = config_of(
        GameStreamConfig,
        address=address,
        state_dir=state_dir or default_state_dir(),
        app=app_,
        mode=mode,
        bitrate=bitrate,
        channels=channels,
        encrypt_video=encrypt,
        encrypt_sound=encrypt,
        seconds=seconds,
        decode=decode,
        artefacts=record,
        out=out,
        quit_after=quit_after,
        **optional,
    )

    async def streaming(config: GameStreamConfig) -> int:
        from punktfunk.client.gamestream.commands import receive

        return await receive(config, overwrite=overwrite, as_json=as_json)

    run(streaming, config)
