"""A host in words: what it streams, with which encoder, where."""

from __future__ import annotations

import contextlib

from punktfunk.errors import CapabilityError, ConfigError, CursorPaintedError
from punktfunk.host.config import NATIVE_PORT, HostConfig
from punktfunk.host.desktop import DesktopPool
from punktfunk.media import Codec, choose_encoder


def describe_stream(config: HostConfig) -> str:
    """Return how it is streamed."""
    mode = str(config.mode) if config.mode else "the client's mode"
    rate = f"{config.bitrate}" if config.bitrate else "the client's bitrate"
    fec = f"FEC {config.fec_scheme} {config.fec_percent} %" + (", adaptive" if config.adaptive_fec else "")
    codec = "no codec" if config.source.kind == "synthetic" else f"codec {config.codec}"
    return f"{mode}, {codec}, {rate}, {fec}"


def describe_encoder(config: HostConfig) -> str:
    """Return which encoder makes the pictures and why; raise what is missing for one that was asked for by name."""
    codec = Codec.H264 if config.codec == "auto" else Codec(config.codec)
    return str(choose_encoder(codec, config.encoder))


def try_encoders(config: HostConfig) -> None:
    """Try what clients may ask for, once for all: a GPU's encoders take seconds, and 20 each where a driver hangs.

    Not in the host's event loop, which would hold all clients that long. Raises what is missing for an encoder that was
    asked for by name, in the first codec that it is needed for.
    """
    describe_encoder(config)
    for codec in Codec if config.codec == "auto" else ():
        with contextlib.suppress(CapabilityError):  # told to whoever asks for that codec
            choose_encoder(codec, config.encoder)


def require_encoder(config: HostConfig) -> None:
    """Raise ``ConfigError`` when the encoder that is asked for by name is unavailable: no host starts with it."""
    if config.encoder in {"auto", "x264"}:
        return
    try:
        describe_encoder(config)
    except CapabilityError as error:
        raise ConfigError(f"encoder: {error.cause}", error.hint) from error


def require_cursor(config: HostConfig, desktop: DesktopPool | None) -> None:
    """Raise ``CursorPaintedError`` where the pointer has to be told beside the pictures, and cannot be."""
    if config.cursor != "separate" or (desktop is not None and desktop.tells_cursor):
        return
    what = f"the {config.source.kind} has none" if desktop is None else f"{desktop.description} paints it"
    raise CursorPaintedError(
        f"the pointer cannot be told beside the pictures: {what}",
        "start with --cursor auto, which leaves it to clients where that can be",
    )


def place_of(address: str, port: int) -> str:
    """Return what a client is to be told: the port only where it is not the usual one."""
    shown = f"[{address}]" if ":" in address else address
    return shown if port == NATIVE_PORT else f"{shown}:{port}"
