"""Whether a client could stream from this host now, and if not, what to do about it. Before a host runs: ``doctor``."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
from pathlib import Path

from punktfunk.addresses import is_wildcard, parse_address
from punktfunk.clock import monotonic_ns
from punktfunk.desktop import BackendName
from punktfunk.errors import CapabilityError
from punktfunk.host.describe import describe_encoder, place_of
from punktfunk.host.desktop import choose_backend, own_backend
from punktfunk.host.firewall import active_firewall, opening, ranges
from punktfunk.host.notices import ENCODER
from punktfunk.host.served import Served
from punktfunk.host.stream.attainable import FOLLOWS
from punktfunk.host.stream.sources import DesktopSpec
from punktfunk.interfaces import reachable_addresses
from punktfunk.media import Codec, SyntheticSpec, choose_encoder
from punktfunk.mgmt.live import Check, ReadinessReport
from punktfunk.trust.open_trust import OpenTrust

LEAST_DISK_BYTES = 16 << 20
"""Enough for the list of clients and the settings many times over."""
LEAST_SEND_BUFFER_BYTES = 1 << 20
"""A key frame of a 50 Mbit/s stream and its recovery packets."""
_SNDBUF_LIMIT = Path("/proc/sys/net/core/wmem_max")


async def examine_host(serving: Served) -> ReadinessReport:
    """Check everything that a stream needs, and what makes it better; takes some 100 ms the first time."""
    listeners = _listeners(serving)
    here = [_pairing(serving), _address(serving), _announcement(serving)]
    machine = await asyncio.to_thread(_machine, serving)
    checks = (*listeners, *machine[:2], *here, *machine[2:])
    missing = [check for check in checks if check.needed and not check.ok]
    port = serving.host.port or serving.config.host.port
    return ReadinessReport(
        ready=not missing,
        headline=_headline(checks, missing),
        checks=checks,
        addresses=tuple(place_of(address, port) for address in reachable_addresses(serving.config.host.bind)),
        fingerprint=serving.identity.fingerprint,
        pairing_required=serving.config.host.trust is OpenTrust.NONE,
    )


def _headline(checks: tuple[Check, ...], missing: list[Check]) -> str:
    if missing:
        return f"Not ready: {missing[0].text}"
    hints = sum(not check.ok for check in checks)
    if hints:
        return f"Ready to stream, with {hints} thing{'s' * (hints > 1)} to improve"
    return "Ready to stream"


def _listeners(serving: Served) -> list[Check]:
    """Look at the wires that are served: one will do, and without any the native one is missed."""
    bind, checks = serving.config.host.bind, []
    if serving.host.native is not None:
        where = f"{bind} UDP port {serving.host.native.port}"
        checks.append(Check("native host", True, f"listens on {where}", needed=True))
    if serving.gamestream is not None:
        where = f"{bind} TCP port {serving.gamestream.ports.http}"
        checks.append(Check("moonlight host", True, f"listens on {where}", needed=True))
    if not checks:
        text = "the native host is switched off"
        checks.append(Check("native host", False, text, "punktfunk serve --native", needed=True))
    if serving.gamestream_missing is not None:
        missing = serving.gamestream_missing
        text = f"no Moonlight client can connect: {missing.cause}"
        checks.append(Check("moonlight host", False, text, missing.hint or None))
    return checks


def _firewall(serving: Served) -> Check:
    """Name the ports that clients come by: whether a firewall lets them through cannot be seen from here."""
    tcp: tuple[int, ...] = ()
    udp = () if serving.host.native is None else (serving.host.native.port,)
    if serving.gamestream is not None:
        ports = serving.gamestream.ports
        tcp, udp = ports.tcp, (*udp, *ports.udp)
    places = ", ".join(
        f"{kind} {' '.join(ranges(numbers))}" for kind, numbers in (("TCP", tcp), ("UDP", udp)) if numbers
    )
    firewall = active_firewall()
    if firewall is None or not places:
        return Check(
            "firewall", True, f"clients connect to {places or 'no port'}; no firewall was found here"
        )
    text = f"clients connect to {places}, which {firewall} has to let through"
    return Check("firewall", True, text, opening(firewall, tcp, udp))


def _pairing(serving: Served) -> Check:
    if serving.config.host.trust is not OpenTrust.NONE:
        but = "; Moonlight clients pair" if serving.gamestream is not None else ""
        return Check(
            "pairing", True, f"is off: every client of a private network is let in{but}", needed=True
        )
    paired = len(serving.config.host.trusted_clients) + sum(
        len(serving.pairing.trust.clients(wire)) for wire in serving.host.protocols
    )
    armed = serving.pairing.window(monotonic_ns()) is not None
    waiting = ", armed for another one" if armed else ""
    if paired:
        return Check(
            "pairing", True, f"{paired} device{'s' * (paired > 1)} paired{waiting}", None, needed=True
        )
    if armed:
        text = "no device is paired yet: pairing is armed"
        return Check("pairing", False, text, f"punktfunk pair {_first_place(serving)} --pin PIN", needed=True)
    text = "no device is paired yet"
    if serving.host.native is None and serving.gamestream is not None:
        place = serving.gamestream.places()[0]
        return Check("pairing", False, f"{text}: add {place} in Moonlight", "punktfunk pin PIN", needed=True)
    return Check("pairing", False, text, "punktfunk serve --arm 120", needed=True)


def _first_place(serving: Served) -> str:
    address = reachable_addresses(serving.config.host.bind)[0]
    return place_of(address, serving.host.port or serving.config.host.port)


def _address(serving: Served) -> Check:
    bind = serving.config.host.bind
    outside = [address for address in reachable_addresses(bind) if not parse_address(address).is_loopback]
    if outside:
        return Check("network", True, f"other machines reach this one at {', '.join(outside)}")
    if is_wildcard(bind):
        return Check("network", False, "no network leads out of this machine", "ip address")
    return Check("network", False, f"only this machine can connect to {bind}", "punktfunk serve --bind '*'")


def _announcement(serving: Served) -> Check:
    if serving.announced:
        networks = serving.announced_networks
        where = "the local network finds" if networks == 1 else f"{networks} networks find"
        names = " and ".join(serving.announced_as)
        return Check("announcement", True, f"{where} this host (multicast DNS) as {names}")
    if not serving.config.announce or not serving.host.protocols:
        return Check(
            "announcement", True, "is switched off: clients have to be given an address", "punktfunk serve --mdns"
        )  # fmt: skip
    return Check(
        "announcement", False, "the local network was not told of this host yet; its address will do"
    )


def _machine(serving: Served) -> tuple[Check, ...]:
    """Look at what has to be tried: a compositor, encoders, sockets, the disk."""
    return (
        _source(serving),
        _encoder(serving),
        *_replaced_encoders(serving),
        *_slow_encoders(serving),
        *_desktops(serving),
        *_app_desktops(serving),
        _firewall(serving),
        _disk(serving.state_dir),
        _send_buffer(serving.config.host.send_buffer_bytes),
        _processor(),
    )


def _source(serving: Served) -> Check:
    source = serving.config.host.source
    if serving.desktop is not None:
        notice = serving.desktop.notice
        if notice is not None:
            return Check("source", False, notice.cause, notice.hint or None, needed=True)
        return Check("source", True, f"streams {serving.desktop.description}", needed=True)
    if isinstance(source, DesktopSpec):
        try:
            _, found = choose_backend(source, serving.state_dir)
        except CapabilityError as error:
            return Check("source", False, error.cause, error.hint or None, needed=True)
        return Check("source", True, found.reason, needed=True)
    return Check("source", True, f"streams the {source.kind} source, no desktop", needed=True)


def _desktops(serving: Served) -> list[Check]:
    """Look at each desktop that ``auto`` may take; one that is not here or comes after what is streamed is no lack."""
    source, pool = serving.config.host.source, serving.desktop
    if not isinstance(source, DesktopSpec) or source.backend != "auto":
        return []
    from punktfunk.desktop.backends import BACKENDS, examine

    streamed = None if pool is None else pool.backend
    checks, preferred = [], True
    for backend, found in zip(BACKENDS, examine(serving.state_dir), strict=True):
        if backend.by_name_only:
            continue
        fine = found.usable or found.absent or not preferred
        checks.append(
            Check(f"desktop {backend.name}", fine, found.reason, None if found.usable else found.hint or None)
        )
        preferred = preferred and backend is not streamed
    return checks


def _app_desktops(serving: Served) -> list[Check]:
    """Look for what apps with desktops of their own need, where there are any."""
    from punktfunk.desktop.backends import choose

    checks = []
    for kind, name in (
        (BackendName.HEADLESS_SWAY, "app desktops"),
        (BackendName.GAMESCOPE, "app gamescopes"),
    ):
        titles = [app.title for app in serving.apps.all() if app.own_desktop and own_backend(app) is kind]
        if not titles:
            continue
        try:
            _, found = choose(kind)
        except CapabilityError as error:
            checks.append(Check(name, False, f"{', '.join(titles)}: {error.cause}", error.hint or None))
        else:
            text = f"{len(titles)} of the apps can have their own: {found.reason}"
            checks.append(Check(name, True, text, found.hint or None))
    return checks


def _encoder(serving: Served) -> Check:
    config = serving.config.host
    if isinstance(config.source, SyntheticSpec):
        return Check("encoder", True, "none is needed for synthetic frames", needed=True)
    try:
        return Check("encoder", True, describe_encoder(config), needed=True)
    except CapabilityError as error:
        return Check("encoder", False, error.cause, error.hint or None, needed=True)


def _replaced_encoders(serving: Served) -> list[Check]:
    """Name the last session whose encoder failed, as long as its report is kept."""
    for report in reversed(serving.host.reports):
        words = report.notices.get(ENCODER)
        if words is not None:
            return [Check("encoder", False, f"session {report.number}: {words}", "punktfunk encoders --test")]
    return []


def _slow_encoders(serving: Served) -> list[Check]:
    """Name the encoder that may lower frame rates, where clients can get it."""
    config = serving.config.host
    codec = Codec.HEVC if config.codec == "auto" else Codec(config.codec)
    if isinstance(config.source, SyntheticSpec) or config.encoder in {"nvenc", "vaapi"}:
        return []
    if config.codec == "auto" and serving.host.native is None:
        return []
    name = choose_encoder(codec, config.encoder).name
    if name not in FOLLOWS:
        return []
    whom = "clients that name no codec get" if config.codec == "auto" else "all clients get"
    text = (
        f"{whom} {codec} by {name}: where that is too slow for the mode, streams have fewer frames and say so"
    )
    return [Check("frame rate", True, text, "punktfunk serve --codec h264")]


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check("disk", False, f"{folder} cannot be written", f"chmod u+w {folder}")
    if free < LEAST_DISK_BYTES:
        return Check("disk", False, f"{free >> 20} MiB left for {folder}", f"df -h {folder}")
    return Check("disk", True, f"{free >> 30} GiB left" if free >> 30 else f"{free >> 20} MiB left")


def _send_buffer(wanted: int) -> Check:
    """Ask a socket what the kernel grants; the worker of each stream asks the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probed:
        probed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, wanted)
        # The kernel doubles what is asked for, to cover its own bookkeeping, and reports that.
        granted = probed.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
    if granted >= min(wanted, LEAST_SEND_BUFFER_BYTES):
        return Check("send buffer", True, f"the kernel grants {granted >> 10} KiB")
    limit = f" (limit {_SNDBUF_LIMIT.read_text().strip()})" if _SNDBUF_LIMIT.exists() else ""
    return Check(
        "send buffer",
        False,
        f"the kernel grants {granted >> 10} KiB of {wanted >> 10}{limit}: large frames may be cut short",
        f"sysctl -w net.core.wmem_max={wanted}",
    )


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0))
    allowed = os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0
    priority = "real-time priority is allowed" if allowed else "no real-time priority"
    if cores < 2:
        return Check("processor", False, f"one core for capture, encoder and network; {priority}", "nproc")
    return Check("processor", True, f"{cores} cores; {priority}")
