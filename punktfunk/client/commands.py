"""What the client's commands print: a line a second, the end in a sentence, hosts, a pairing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from punktfunk.addresses import parse_address
from punktfunk.client import messages
from punktfunk.client.config import ClientConfig
from punktfunk.client.dial import dialled
from punktfunk.client.ending import Counts, silence_ns
from punktfunk.client.host_card import note_card
from punktfunk.client.json_lines import exit_status
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.client.latency import latency_words
from punktfunk.client.pair import pair
from punktfunk.client.service import Client
from punktfunk.client.summary import Summary
from punktfunk.client.until_end import until_end
from punktfunk.client.window import load_sdl
from punktfunk.clock import monotonic_ns
from punktfunk.errors import ResultsError, UsageError
from punktfunk.native.client import DEFAULT_PORT, parse_host_port
from punktfunk.native.control import S
from punktfunk.native.discovery import FoundHost, discover
from punktfunk.terminal import say

_WIND_DOWN_S = 1.5


async def receive(config: ClientConfig, *, overwrite: bool = False) -> int:
    """Receive a stream until it ends or somebody says so; the exit status of :func:`exit_status`.

    What would fail after the connection is looked at before it. Raises ``UsageError`` for an ``out`` that is
    there already, ``ResultsError`` for one that cannot be written, ``CapabilityError`` without PySDL2.
    """
    if config.present:
        load_sdl()
    if config.out is not None:
        prepare_output(config.out, overwrite=overwrite)
    asked, config = config.address, await dialled(config)
    client = Client(config.address, config)
    client.on_progress = lambda progress: say(_second_line(progress, silence_ns(client.mode.refresh_hz)))
    async with client:
        welcome = client.welcome
        kind = f"verification of {welcome.frames} frames" if welcome.frames else "stream"
        say(f"{kind} {client.mode}, FEC {welcome.fec.name} {welcome.fec_percent} %")
        say(f"host fingerprint {client.host_fingerprint}")
        await asyncio.to_thread(note_card, config.state_dir, client.address, asked)
        await until_end(client, _WIND_DOWN_S)
    summary = await client.finished()
    say(_summary_line(summary))
    if summary.hint:
        say(f"  → {summary.hint}")
    if config.out is not None:
        say(_output_line(config.out))
    return exit_status(summary)


def prepare_output(path: Path, *, overwrite: bool) -> None:
    """Make the file that a stream is written to, empty; never touch one that is there unasked."""
    try:
        if path.is_dir():
            raise UsageError(f"--out {path} is a folder", "name a file in it")
        if path.exists() and path.stat().st_size and not overwrite:
            raise UsageError(f"{path} is there already", "name another --out file, or add --overwrite")
        with path.open("wb"):
            pass
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}",
            "name an --out file in a folder that you may write to",
        ) from error


def _output_line(path: Path) -> str:
    size = path.stat().st_size
    if not size:
        return f"nothing was written to {path}"
    return f"{size / 1e6:.1f} MB of coded video in {path} (ffplay, mpv and ffmpeg read it)"


async def pair_device(config: ClientConfig, pin: str) -> int:
    """Pair with ``config.address`` and say what comes next."""
    asked, config = config.address, await dialled(config, pairing=True)
    fingerprint = await pair(config.address, pin, config)
    await asyncio.to_thread(note_card, config.state_dir, parse_host_port(config.address), asked)
    say(f"paired with {config.address}")
    say(f"host fingerprint {fingerprint}")
    say(f"next: punktfunk connect {config.address}")
    return 0


async def list_hosts(config: ClientConfig, seconds: float, interfaces: list[str]) -> int:
    """Print the hosts of the local network; 1 when there is none."""
    for interface in interfaces:
        try:
            parse_address(interface)
        except ValueError:
            raise UsageError(
                f"{interface!r} is no address", "name one of this machine's, as ip addr lists them"
            ) from None
    hosts = await discover(seconds, interfaces)
    known = set() if config.state_dir is None else {h.fingerprint for h in KnownHosts(config.state_dir).all()}
    for host in hosts:
        say(_host_line(host, host.fingerprint in known))
    if not hosts:
        say("no host answered: is one running, and in this network? A host can be dialled by address, too")
    return int(not hosts)


def _host_line(host: FoundHost, known: bool) -> str:
    places = ", ".join(_place(address, host.port) for address in host.addresses)
    state = "pairing required" if host.pairing_required else "open"
    if known:
        state = "paired"
    return f"{host.name:32}  {places}  {state}  {host.fingerprint}"


def _place(address: str, port: int) -> str:
    shown = f"[{address}]" if ":" in address else address
    return shown if port == DEFAULT_PORT else f"{shown}:{port}"


def _second_line(progress: messages.Progress, patience_ns: int) -> str:
    counters = progress.counters
    latency = "latency unknown"
    if progress.latency_us is not None:
        p50, p95, largest = (latency_words(value, progress.latency_error_us) for value in progress.latency_us)
        latency = f"latency p50 {p50} p95 {p95} max {largest}"
    last = progress.last_packet_ns
    silent_ns = None if last is None else monotonic_ns() - last
    if silent_ns is None:
        latency = "nothing has come yet"
    elif silent_ns >= patience_ns:
        latency = f"nothing came for {silent_ns / S:.1f} s"
    counts = Counts.of(counters, loss_known=silent_ns is not None and silent_ns < patience_ns)
    return (
        f"{progress.frames:4d} fps  {progress.bytes * 8 / 1e6:7.2f} Mbit/s  {latency}  {counts.loss_words()}, "
        f"shards recovered {counters.get('data_shards_recovered', 0)}"
    )


def _summary_line(summary: Summary) -> str:
    counters = summary.counters
    if summary.verified is not None:
        verdict = "verification passed" if summary.verified else "verification failed"
        return (
            f"{verdict}: {counters.get('test_frames_intact', 0)} of {summary.frames_announced} frames intact, "
            f"{counters.get('test_frames_mismatched', 0)} corrupted · {summary.reason}"
        )
    heard = ""
    if "sound_packets" in counters:
        from punktfunk.media.opus import SAMPLE_RATE

        seconds = counters["sound_samples"] / SAMPLE_RATE
        heard = f", heard {seconds:.1f} s of sound ({counters['sound_lost']} packets lost)"
    return (
        f"received {_known(counters, 'frames_released')} frames, decoded {_known(counters, 'pictures')}, "
        f"{summary.counts.loss_words()}, "
        f"key frames asked for {_known(counters, 'recovery_requests')}{heard} · {summary.reason}"
    )


def _known(counters: Mapping[str, int], name: str) -> str:
    """Write a count; a worker that was killed has left none."""
    return str(counters.get(name, "unknown"))
