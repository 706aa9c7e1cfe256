"""The ``punktfunk`` program: stream from this machine, look at another one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape

from punktfunk import log
from punktfunk.client import work
from punktfunk.client.config import ClientConfig
from punktfunk.client.headless import exit_status
from punktfunk.client.pair import pair as client_pair
from punktfunk.client.service import Client, Summary
from punktfunk.errors import PunktfunkError, UsageError
from punktfunk.host.config import NATIVE_PORT, HostConfig
from punktfunk.host.service import Host, SessionReport
from punktfunk.native.headless import config_error
from punktfunk.native.lifetime import until_told_to_end
from punktfunk.native.trust import OpenTrust

C = TypeVar("C", bound=BaseModel)

app = typer.Typer(
    help="Low-latency desktop streaming.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_err = Console(stderr=True)
_WIND_DOWN_S = 1.5


class SourceKind(StrEnum):
    """What to stream."""

    TESTCARD = "testcard"
    FILE = "file"
    SYNTHETIC = "synthetic"


@app.callback()
def _front(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details to standard error.")] = False,
) -> None:
    log.configure(level="debug" if verbose else "warning")


@app.command()
def version() -> None:
    """Print the versions of this program, its native core and its wire."""
    from punktfunk.core._core import ABI_VERSION
    from punktfunk.core._core import __version__ as core_version

    try:
        packaged = metadata.version("punktfunk")
    except metadata.PackageNotFoundError:
        packaged = "(not installed)"
    typer.echo(f"punktfunk {packaged} · core {core_version} (ABI {ABI_VERSION}) · wire punktfunk/1")


@app.command()
def host(  # noqa: PLR0917 - the options of a command line
    source: Annotated[SourceKind, typer.Option(help="What to stream.")] = SourceKind.TESTCARD,
    file: Annotated[Path | None, typer.Option(help="Video file for --source file.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Such as 1280x720@60; default: what the client asks for.")
    ] = None,
    codec: Annotated[str, typer.Option(help="auto, h264, hevc or av1.")] = "auto",
    bitrate: Annotated[
        str | None, typer.Option(help="Such as '10 Mbit/s'; default: the client's wish.")
    ] = None,
    fec: Annotated[int, typer.Option(help="Recovery packets in percent of data packets.")] = 20,
    adaptive_fec: Annotated[bool, typer.Option(help="Follow the client's loss reports with FEC.")] = False,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="UDP port; 0 takes a free one.")] = NATIVE_PORT,
    frames: Annotated[int | None, typer.Option(help="End each stream after this many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End each stream after this long.")] = None,
    frame_bytes: Annotated[int | None, typer.Option(help="Size of every synthetic frame.")] = None,
    sessions: Annotated[int, typer.Option(help="Exit after this many sessions; 0 never.")] = 0,
    max_sessions: Annotated[int, typer.Option(help="Sessions at the same time.")] = 4,
    trust: Annotated[list[str] | None, typer.Option(help="Fingerprint of a client to let in.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Let every client on loopback in.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the host's identity.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for frame records and statistics.")] = None,
) -> None:
    """Serve the native protocol without a desktop: test card, video file or synthetic frames."""
    spec: dict[str, Any] = {"kind": str(source)}
    if source is SourceKind.FILE:
        if file is None:
            _fail(UsageError("--source file needs --file", "name a video file"))
        spec["path"] = str(file)
    if source is SourceKind.SYNTHETIC and frame_bytes is not None:
        spec["frame_bytes"] = frame_bytes
    config = _config(
        HostConfig,
        bind=bind,
        port=port,
        trust=OpenTrust.LOOPBACK if open_ else OpenTrust.NONE,
        trusted_clients=trust or [],
        state_dir=state_dir or default_state_dir(),
        max_sessions=max_sessions,
        exit_after_sessions=sessions,
        source=spec,
        mode=mode,
        codec=codec,
        bitrate=bitrate,
        fec_percent=fec,
        adaptive_fec=adaptive_fec,
        frames=frames,
        seconds=seconds,
        artefacts=record,
    )
    _run(_serve, config)


@app.command()
def connect(  # noqa: PLR0917 - the options of a command line
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Literal IP address of the host.")],
    mode: Annotated[str, typer.Option(help="Mode to ask for.")] = "1280x720@60",
    bitrate: Annotated[str | None, typer.Option(help="Bitrate to ask for; default: the host's.")] = None,
    pin: Annotated[str | None, typer.Option(help="Fingerprint that the host must have.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after this long.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for frame records and statistics.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to append the coded video to.")] = None,
    decode: Annotated[bool, typer.Option(help="Decode the video.")] = True,
    name: Annotated[str | None, typer.Option(help="Name of this device.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
) -> None:
    """Receive a host's stream and print what it is like, a line a second.

    A host that announces a number of test frames is verified: every one has to arrive intact.
    """
    config = _config(
        ClientConfig,
        address=address,
        pin=pin,
        # Without a pin a host is taken on loopback and nowhere else.
        trust=OpenTrust.LOOPBACK,
        state_dir=state_dir or default_state_dir(),
        name=name,
        mode=mode,
        bitrate=bitrate,
        seconds=seconds,
        decode=decode,
        artefacts=record,
        out=out,
    )
    _run(_receive, config)


@app.command()
def pair(
    address: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Literal IP address of the host.")],
    pin: Annotated[str | None, typer.Option(help="PIN that the host shows; asked for when left out.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this device, shown at the host.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of the client's identity.")] = None,
) -> None:
    """Pair this device with a host: arm pairing there, type the PIN here.

    The host is remembered, and connections to it are pinned from then on.
    """
    folder = state_dir or default_state_dir()
    config = _config(ClientConfig, address=address, state_dir=folder, name=name)
    shown = pin if pin is not None else typer.prompt("PIN")
    _run(lambda config: _pair(config, shown), config)


def default_state_dir() -> Path:
    """Return where identities are kept: ``$XDG_CONFIG_HOME/punktfunk`` or ``~/.config/punktfunk``."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "punktfunk"


def main() -> None:
    """Run the program."""
    try:
        app(standalone_mode=True)
    except PunktfunkError as error:
        _fail(error)


async def _serve(config: HostConfig) -> int:
    failed = False
    async with Host(config) as serving:
        typer.echo(f"streaming {config.source.kind} on {config.bind} UDP port {serving.port}")
        typer.echo(f"fingerprint {serving.fingerprint}")
        typer.echo(
            f"next: punktfunk connect {_dialable(config.bind, serving.port)} --pin {serving.fingerprint}"
        )
        ending = asyncio.ensure_future(until_told_to_end())
        told = 0
        while not ending.done() and not (config.exit_after_sessions and told >= config.exit_after_sessions):
            waiting = asyncio.ensure_future(serving.sessions_over(told + 1))
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                break
            for report in waiting.result()[told:]:
                told += 1
                failed = failed or report.failed
                typer.echo(_session_line(report))
        ending.cancel()
    return int(failed)


async def _pair(config: ClientConfig, pin: str) -> int:
    fingerprint = await client_pair(config.address, pin, config)
    typer.echo(f"paired with {config.address}")
    typer.echo(f"host fingerprint {fingerprint}")
    typer.echo(f"next: punktfunk connect {config.address}")
    return 0


def _session_line(report: SessionReport) -> str:
    counters = report.counters
    return (
        f"session {report.number} {report.peer.address[0]} {report.mode}: "
        f"{counters.get('frames_sent', 0)} frames, {counters.get('packets_sent', 0)} packets, "
        f"{counters.get('frames_queue_dropped', 0)} dropped here · {report.reason}"
    )


async def _receive(config: ClientConfig) -> int:
    client = Client(config.address, config)
    client.on_progress = lambda progress: typer.echo(_second_line(progress))
    async with client:
        welcome = client.welcome
        kind = f"verification of {welcome.frames} frames" if welcome.frames else "stream"
        typer.echo(f"{kind} {welcome.mode}, FEC {welcome.fec.name} {welcome.fec_percent} %")
        typer.echo(f"host fingerprint {client.host_fingerprint}")
        ending = asyncio.ensure_future(until_told_to_end())
        finishing = asyncio.ensure_future(client.finished())
        await asyncio.wait({ending, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done():
            client.stop()
            await asyncio.wait({finishing}, timeout=_WIND_DOWN_S)
        ending.cancel()
    summary = await client.finished()
    typer.echo(_summary_line(summary))
    return exit_status(summary)


def _second_line(progress: work.Progress) -> str:
    counters = progress.counters
    latency = "latency unknown"
    if progress.latency_us is not None:
        p50, p95, largest = (value / 1000 for value in progress.latency_us)
        latency = f"latency p50 {p50:.2f} ms p95 {p95:.2f} ms max {largest:.2f} ms"
    lost = counters.get("frames_unrecoverable", 0) + counters.get("frames_expired", 0)
    return (
        f"{progress.frames:4d} fps  {progress.bytes * 8 / 1e6:7.2f} Mbit/s  {latency}  "
        f"packets lost {counters.get('packets_lost', 0)}, shards recovered "
        f"{counters.get('data_shards_recovered', 0)}, frames lost {lost}"
    )


def _summary_line(summary: Summary) -> str:
    counters = summary.counters
    if summary.verified is not None:
        verdict = "verification passed" if summary.verified else "verification failed"
        return (
            f"{verdict}: {counters.get('test_frames_intact', 0)} of {summary.frames_announced} frames intact, "
            f"{counters.get('test_frames_mismatched', 0)} corrupted · {summary.reason}"
        )
    return (
        f"received {counters.get('frames_released', 0)} frames, decoded {counters.get('pictures', 0)}, "
        f"key frames asked for {counters.get('recovery_requests', 0)} · {summary.reason}"
    )


def _dialable(bind: str, port: int) -> str:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound
    shown = f"[{address}]" if ":" in address else address
    return shown if port == NATIVE_PORT else f"{shown}:{port}"


def _config(model: type[C], **fields: Any) -> C:
    try:
        return model.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        _fail(config_error(error, "command line"))
    except PunktfunkError as error:
        _fail(error)


def _run(program: Callable[[C], Coroutine[Any, Any, int]], config: C) -> NoReturn:
    try:
        status = asyncio.run(program(config))
    except PunktfunkError as error:
        _fail(error)
    except KeyboardInterrupt:
        status = 130
    raise typer.Exit(status)


def _fail(error: PunktfunkError) -> NoReturn:
    """Print cause and next step, and leave with the error's exit status."""
    _err.print(
        f"[bold red]error[/]: {escape(error.cause)} [dim]{escape(f'[{error.code}]')}[/]", highlight=False
    )
    if error.hint:
        _err.print(f"  → {escape(error.hint)}", highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)
