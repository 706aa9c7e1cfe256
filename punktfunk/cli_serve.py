"""The commands that make a host of this machine: ``serve`` for people, ``host`` for the native protocol alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from punktfunk.addresses import EVERYWHERE
from punktfunk.cli_run import config_of, fail, fields_of, run
from punktfunk.desktop.keyboard_layout import DEFAULT_LAYOUT, xkb_names
from punktfunk.errors import CapabilityError, PunktfunkError, UsageError
from punktfunk.gamestream.ports import BASE_PORT
from punktfunk.host.config import NATIVE_PORT, HostConfig
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.mgmt.endpoint import MGMT_PORT
from punktfunk.terminal import say
from punktfunk.trust.open_trust import OpenTrust
from punktfunk.trust.state_dir import default_state_dir

if TYPE_CHECKING:
    from punktfunk.host.serve_config import ServeConfig

_SETTINGS_OF_FLAGS = {
    "bitrate": "bitrate",
    "fec": "fec_percent",
    "adaptive_fec": "adaptive_fec",
    "fec_min": "fec_min_percent",
    "codec": "codec",
    "encoder": "encoder",
    "mode": "mode",
    "max_sessions": "max_sessions",
    "outputs": "outputs",
    "cursor": "cursor",
    "mdns": "announce",
    "inhibit": "inhibit",
    "own_sink": "own_sink",
}
"""Options of ``serve`` that fix a setting."""


class SourceKind(StrEnum):
    """What to stream."""

    TESTCARD = "testcard"
    FILE = "file"
    SYNTHETIC = "synthetic"


class EncoderKind(StrEnum):
    """Where pictures are encoded."""

    AUTO = "auto"
    X264 = "x264"
    NVENC = "nvenc"
    VAAPI = "vaapi"


class ServedSource(StrEnum):
    """What ``serve`` streams."""

    AUTO = "auto"
    DESKTOP = "desktop"
    TESTCARD = "testcard"
    FILE = "file"
    SYNTHETIC = "synthetic"


class ServedDesktop(StrEnum):
    """Which desktop ``serve`` streams: the values of :class:`punktfunk.desktop.BackendName`, and ``auto``."""

    AUTO = "auto"
    KWIN = "kwin"
    MUTTER = "mutter"
    WLROOTS = "wlroots"
    PORTAL = "portal"
    HEADLESS_SWAY = "headless-sway"
    GAMESCOPE = "gamescope"


class CursorKind(StrEnum):
    """Who draws the pointer of a desktop."""

    AUTO = "auto"
    PAINTED = "painted"
    SEPARATE = "separate"


class OutputsKind(StrEnum):
    """What several streams of a desktop show."""

    OWN = "own"
    MIRROR = "mirror"


def host(  # noqa: PLR0917 - the options of a command line
    source: Annotated[SourceKind, typer.Option(help="What to stream.")] = SourceKind.TESTCARD,
    file: Annotated[Path | None, typer.Option(help="Video file for --source file.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Such as 1280x720@60; default: what the client asks for.")
    ] = None,
    codec: Annotated[str, typer.Option(help="auto, h264, hevc or av1.")] = "auto",
    encoder: Annotated[
        EncoderKind, typer.Option(help="nvenc, vaapi: the GPU's; x264: software; auto: the first that works.")
    ] = EncoderKind.AUTO,
    bitrate: Annotated[
        str | None, typer.Option(help="Such as '10 Mbit/s'; default: the client's wish.")
    ] = None,
    fec: Annotated[int, typer.Option(help="Recovery packets in percent of data packets.")] = 20,
    adaptive_fec: Annotated[bool, typer.Option(help="Follow the client's loss reports with FEC.")] = False,
    fec_min: Annotated[int | None, typer.Option(help="Floor of adaptive FEC; default: --fec.")] = None,
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
    spec = _source(source, file, frame_bytes)
    config = config_of(
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
        encoder=encoder.value,
        bitrate=bitrate,
        fec_percent=fec,
        adaptive_fec=adaptive_fec,
        fec_min_percent=fec_min,
        frames=frames,
        seconds=seconds,
        artefacts=record,
    )

    async def serve(config: HostConfig) -> int:
        from punktfunk.host.commands import serve_host

        return await serve_host(config)

    run(serve, config)


def serve(  # noqa: PLR0917 - the options of a command line
    context: typer.Context,
    source: Annotated[
        ServedSource, typer.Option(help="What to stream; auto: a desktop, or else the test card.")
    ] = ServedSource.AUTO,
    desktop: Annotated[
        ServedDesktop,
        typer.Option(help="Which desktop; auto: the first of the others that can be streamed here."),
    ] = ServedDesktop.AUTO,
    app_: Annotated[
        str | None,
        typer.Option(
            "--app",
            help="Program of a headless desktop or a gamescope, with its arguments; chooses the first.",
        ),
    ] = None,
    outputs: Annotated[
        OutputsKind,
        typer.Option(help="Of several streams of a desktop: own: an output each; mirror: all the first's."),
    ] = OutputsKind.OWN,
    cursor: Annotated[
        CursorKind,
        typer.Option(
            help="auto: native clients draw the pointer where the desktop tells it; painted: it is in the picture; "
            "separate: refuse a desktop that cannot tell it."
        ),
    ] = CursorKind.AUTO,
    keyboard_layout: Annotated[
        str,
        typer.Option(
            metavar="LAYOUT[:VARIANT]",
            help="XKB layout of the host's own desktops and of clients' keys in wlroots sessions, as de:nodeadkeys.",
        ),
    ] = DEFAULT_LAYOUT,
    audio: Annotated[bool, typer.Option(help="Stream a desktop's sound too.")] = True,
    own_sink: Annotated[
        bool,
        typer.Option(help="Have a running session play into a sink of the host's while a client listens."),
    ] = False,
    file: Annotated[Path | None, typer.Option(help="Video file for --source file.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Such as 1280x720@60; default: what the client asks for.")
    ] = None,
    codec: Annotated[str, typer.Option(help="auto, h264, hevc or av1.")] = "auto",
    encoder: Annotated[
        EncoderKind, typer.Option(help="nvenc, vaapi: the GPU's; x264: software; auto: the first that works.")
    ] = EncoderKind.AUTO,
    bitrate: Annotated[
        str | None, typer.Option(help="Such as '10 Mbit/s'; default: the client's wish.")
    ] = None,
    fec: Annotated[int, typer.Option(help="Recovery packets in percent of data packets.")] = 20,
    adaptive_fec: Annotated[bool, typer.Option(help="Follow the client's loss reports with FEC.")] = True,
    fec_min: Annotated[int | None, typer.Option(help="Floor of adaptive FEC; default: --fec.")] = None,
    native: Annotated[bool, typer.Option(help="Serve the native protocol.")] = True,
    bind: Annotated[
        str,
        typer.Option(
            help="Address to listen on: of one interface, or * (all), 0.0.0.0 (all, IPv4 only), :: (all, IPv6 only)."
        ),
    ] = EVERYWHERE,
    native_port: Annotated[int, typer.Option(help="Its UDP port; 0 takes a free one.")] = NATIVE_PORT,
    gamestream: Annotated[
        bool | None,
        typer.Option(
            "--gamestream/--no-gamestream",
            help="Serve Moonlight clients too, by GameStream; default: where its ports are free.",
            show_default=False,
        ),
    ] = None,
    gamestream_port: Annotated[
        int, typer.Option(metavar="BASE", help="Its HTTP port; all its other ports move with it.")
    ] = BASE_PORT,
    frames: Annotated[int | None, typer.Option(help="End each stream after this many frames.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End each stream after this long.")] = None,
    frame_bytes: Annotated[int | None, typer.Option(help="Size of every synthetic frame.")] = None,
    sessions: Annotated[int, typer.Option(help="Exit after this many sessions; 0 never.")] = 0,
    max_sessions: Annotated[int, typer.Option(help="Sessions at the same time.")] = 4,
    open_: Annotated[
        bool, typer.Option("--open", help="Let every client of a private network in, without pairing.")
    ] = False,
    arm: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="Arm pairing at the start and print the PIN.")
    ] = None,
    mgmt: Annotated[bool, typer.Option(help="Serve the management API and the web console.")] = True,
    mgmt_bind: Annotated[
        str, typer.Option(metavar="IP:PORT", help="Where; HTTPS off loopback. Port 0 takes a free one.")
    ] = f"127.0.0.1:{MGMT_PORT}",
    mdns: Annotated[bool, typer.Option(help="Announce the host in the local network.")] = True,
    inhibit: Annotated[
        bool, typer.Option(help="Hold off idle, sleep and lock of this machine while a client streams.")
    ] = True,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of identity and paired clients.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder for frame records and statistics.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check that this machine can serve with these options, and exit.")
    ] = False,
) -> None:
    """Stream to paired clients: one process, ended by Ctrl-C.

    Clients pair once, with a PIN that this host shows on demand.
    """
    from punktfunk.host.commands import serve as run_serve
    from punktfunk.host.serve_config import ServeConfig

    config = config_of(
        ServeConfig,
        host=fields_of(
            bind=bind,
            port=native_port,
            trust=OpenTrust.PRIVATE if open_ else OpenTrust.NONE,
            state_dir=state_dir or default_state_dir(),
            max_sessions=max_sessions,
            exit_after_sessions=sessions,
            keyboard_layout=_keyboard_layout(keyboard_layout),
            outputs=outputs.value,
            cursor=cursor.value,
            source=_served_source(source, file, frame_bytes, desktop, app_, audio=audio),
            mode=mode,
            codec=codec,
            encoder=encoder.value,
            bitrate=bitrate,
            fec_percent=fec,
            adaptive_fec=adaptive_fec,
            fec_min_percent=fec_min,
            frames=frames,
            seconds=seconds,
            artefacts=record,
        ),
        native=native,
        gamestream=gamestream,
        gamestream_port=gamestream_port,
        announce=mdns,
        inhibit=inhibit,
        own_sink=own_sink,
        arm_seconds=arm,
        management=mgmt,
        mgmt_bind=mgmt_bind,
        fixed=_fixed_settings(context),
    )
    if check:
        _check(config)
    else:
        run(run_serve, config)


def _check(config: ServeConfig) -> None:
    """Look for what a host would refuse to start without; ports and the state folder may be another host's now."""
    from punktfunk.host.describe import require_encoder

    try:
        require_encoder(config.host)
    except PunktfunkError as error:
        fail(error)
    say("options      fit this machine")


def _source(source: SourceKind, file: Path | None, frame_bytes: int | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"kind": str(source)}
    if source is SourceKind.FILE:
        if file is None:
            fail(UsageError("--source file needs --file", "name a video file"))
        if not file.is_file():
            fail(UsageError(f"there is no file {file}", "name a video file that is there"))
        spec["path"] = str(file)
    if source is SourceKind.SYNTHETIC and frame_bytes is not None:
        spec["frame_bytes"] = frame_bytes
    return spec


def _served_source(
    source: ServedSource,
    file: Path | None,
    frame_bytes: int | None,
    desktop: ServedDesktop,
    program: str | None,
    *,
    audio: bool,
) -> dict[str, Any]:
    """Choose for ``auto``: a desktop where one can be streamed, the test card and a word about it elsewhere."""
    named = "--app" if program is not None else "--desktop"
    if source not in (ServedSource.AUTO, ServedSource.DESKTOP):
        if program is not None or desktop is not ServedDesktop.AUTO:
            fail(
                UsageError(
                    f"{named} is for desktops, not for --source {source.value}", "leave one of them out"
                )
            )
        return _source(SourceKind(source.value), file, frame_bytes)
    if desktop is ServedDesktop.GAMESCOPE and not (program or "").strip():
        hint = "name it, such as --app 'steam -gamepadui'; other apps are the catalogue's"
        fail(UsageError("a gamescope shows one program, and none is named", hint))
    if program is not None and desktop is not ServedDesktop.GAMESCOPE:
        if desktop not in (ServedDesktop.AUTO, ServedDesktop.HEADLESS_SWAY):
            cause = f"--app is what a headless desktop runs, not --desktop {desktop.value}"
            fail(UsageError(cause, "start it in that session, or add an app (docs/how-to/add-an-app.md)"))
        desktop = ServedDesktop.HEADLESS_SWAY
    from punktfunk.desktop.program import program_of
    from punktfunk.host.desktop import choose_backend

    any_will_do = source is ServedSource.AUTO and desktop is ServedDesktop.AUTO
    spec = DesktopSpec.model_validate(
        {
            "backend": desktop.value,
            "or_testcard": any_will_do,
            "app": program_of(program),
            "audio": audio,
        }
    )
    try:
        choose_backend(spec)
    except CapabilityError as error:
        if not any_will_do:
            fail(error)
        say(f"no desktop    {error.cause}: streaming the test card")
        return {"kind": "testcard"}
    return spec.model_dump()


def _keyboard_layout(text: str) -> str:
    """Return a layout that XKB knows; without libxkbcommon no desktop needs it, and the default is not looked up."""
    if text != DEFAULT_LAYOUT:
        from punktfunk.desktop.inject.keymap import Keyboard

        try:
            Keyboard(*xkb_names(text)).close()
        except PunktfunkError as error:
            fail(error)
    return text


def _fixed_settings(context: typer.Context) -> dict[str, str]:
    """Return the settings that flags of the command line name, and those flags."""
    fixed = {}
    for option in context.command.params:
        setting = _SETTINGS_OF_FLAGS.get(option.name or "")
        source = context.get_parameter_source(option.name or "")
        if setting is not None and source is not None and source.name == "COMMANDLINE":
            off = context.params[option.name or ""] is False and option.secondary_opts
            fixed[setting] = option.secondary_opts[0] if off else option.opts[0]
    return fixed
