"""``punktfunk doctor``: what this machine can stream, and how well, before a host runs on it.

Everything is tried on the real thing: encoders are opened, sockets bound, the core sends to itself over loopback. The
checks of a host that runs, which the console shows, are in ``readiness``; those of the lab in ``harness/doctor.py``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from punktfunk import key_log
from punktfunk.addresses import socket_address
from punktfunk.announcement import speaking_interfaces
from punktfunk.core._core import FLAG_PICTURE, ClientStream, HostStream, StreamConfig, fec_kernel
from punktfunk.core._core import __version__ as core_version
from punktfunk.desktop import backends
from punktfunk.errors import CapabilityError, CodecUnavailableError
from punktfunk.findings import Finding, collect, tried
from punktfunk.gamestream.ports import Ports
from punktfunk.host.config import NATIVE_PORT
from punktfunk.host.gamestream.listening import HeldPorts
from punktfunk.media import Codec, available_encoders, choose_encoder
from punktfunk.media.encoders import vaapi
from punktfunk.mgmt.endpoint import MGMT_PORT

GpuWish = Literal["nvenc", "vaapi"]
"""What --encoder calls the encoders of GPUs."""
WANTED_BUFFER_BYTES = 4 * 1024 * 1024
"""Holds what a 100 Mbit/s stream sends or a client receives in a third of a second of a stalled machine."""
_ASKED_BUFFER_BYTES = 32 * 1024 * 1024
_LOOPBACK, _LOOPBACK_V6 = "127.0.0.1", "::1"
_DEVICES = Path("/sys/class/net")
_MDNS_GROUP, _MDNS_PORT = "224.0.0.251", 5353
_FLUSH_S = 1.0
_SYSCTL = "sysctl -w net.core.{name}={bytes} (keep it in /etc/sysctl.d/60-punktfunk.conf)"
_RTPRIO = "echo '@video - rtprio 5' | sudo tee /etc/security/limits.d/60-punktfunk.conf, then log in again"


def examine(state_dir: Path | None = None) -> list[Finding]:
    """Try every capability of this machine as a host, and the window of its client.

    ``state_dir`` is where the host keeps what a desktop has granted it.
    """

    def desktops() -> Iterator[Finding]:
        return _desktops(state_dir)

    return collect(
        (
            _core,
            desktops,
            _test_card,
            _parts,
            _encoders,
            _gpu,
            _data_plane,
            _networks,
            _ports,
            _window,
            key_log.examine,
        )
    )


def _core() -> Iterator[Finding]:
    yield Finding(
        "protocol core",
        True,
        "everything",
        f"version {core_version}, FEC kernel {fec_kernel()}",
        essential=True,
    )


def _desktops(state_dir: Path | None) -> Iterator[Finding]:
    for backend in backends.BACKENDS:
        found = backend.examine(state_dir)
        yield Finding(backend.title, found.usable, backend.used_by, found.reason, found.hint)


def _test_card() -> Iterator[Finding]:
    yield Finding("test card", True, "serve where there is no desktop", "needs nothing")


def _parts() -> Iterator[Finding]:
    used_by = {"sound": "sound of a headless desktop", "gamepads": "gamepads of clients"}
    for part in backends.examine_parts():
        yield Finding(part.name, part.usable, used_by.get(part.name, "desktops"), part.reason, part.hint)


def _encoders() -> Iterator[Finding]:
    for check in available_encoders():
        yield Finding(
            f"encoder {check.name}",
            check.available,
            f"{check.codec} streams",
            check.reason,
            "python -m pip install --upgrade --force-reinstall av",
            # H.264 is what every client decodes.
            essential=check.codec is Codec.H264,
        )


def _gpu() -> Iterator[Finding]:
    for wish in get_args(GpuWish):
        yield tried(
            f"encoder {wish}",
            f"serve --encoder {wish}, and auto where there is one",
            "",
            partial(_try_gpu, wish),
        )
    yield tried("PyAV with VA-API", "encoder vaapi", "", vaapi.require_pyav)


def _try_gpu(wish: GpuWish) -> str:
    usable = []
    for codec in Codec:
        with contextlib.suppress(CodecUnavailableError):
            usable.append(str(choose_encoder(codec, wish).name))
    if not usable:
        choose_encoder(Codec.H264, wish)
    return ", ".join(usable)


def _data_plane() -> Iterator[Finding]:
    """Send one access unit from the core to itself and read what the system granted it."""
    with _loopback_pair() as (near, far):
        config = StreamConfig()
        client = ClientStream(config, far.fileno(), receive_buffer_bytes=_ASKED_BUFFER_BYTES, realtime=True)
        host = HostStream(
            config, near.fileno(), rate_kbps=10_000, send_buffer_bytes=_ASKED_BUFFER_BYTES, realtime=True
        )
        try:
            host.submit(bytes(32 * 1024), 0, FLAG_PICTURE)
            host.flush(_FLUSH_S)
            sent, received = host.stats(), client.stats()
        finally:
            host.close()
            client.close()
    yield _buffer("UDP send buffer", "key frames of a host", sent["send_buffer_granted"], "wmem_max")
    yield _buffer(
        "UDP receive buffer", "clients on this machine", received["receive_buffer_granted"], "rmem_max"
    )
    yield Finding(
        "UDP segmentation offload",
        bool(sent["gso"]),
        "sending many packets with one call",
        "",
        "Linux 4.18 or newer; without it a stream costs more CPU and is otherwise the same",
    )
    yield Finding(
        "real-time priority",
        bool(sent["realtime"]),
        "packets that leave on time beside a busy encoder",
        _priority(sent),
        _RTPRIO,
    )


def _priority(sent: dict[str, int]) -> str:
    if sent["realtime"]:
        return ""
    short = f"a slice of {sent['slice_ns'] / 1e6:g} ms in its place"
    return f"SCHED_FIFO is not granted; {short if sent['slice_ns'] else 'no short slice either (Linux 6.12 has them)'}"


def _buffer(name: str, used_by: str, granted: int, setting: str) -> Finding:
    fix = _SYSCTL.format(name=setting, bytes=_ASKED_BUFFER_BYTES)
    return Finding(name, granted >= WANTED_BUFFER_BYTES, used_by, f"{granted // 1024} KiB", fix)


@contextlib.contextmanager
def _loopback_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for end in (near, far):
            end.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        yield near, far


def _ports() -> Iterator[Finding]:
    yield tried(
        f"UDP port {NATIVE_PORT}",
        "native clients",
        "end the host that runs already, or serve --native-port with another one",
        lambda: _bind(socket.SOCK_DGRAM, NATIVE_PORT, _loopbacks()),
    )
    yield tried(
        "ports of GameStream",
        "Moonlight clients",
        "end the host that runs already, or serve --gamestream-port with another one",
        _hold_gamestream_ports,
    )
    yield tried(
        f"TCP port {MGMT_PORT}",
        "console and management API",
        "end the host that runs already, or serve --mgmt-bind 127.0.0.1:PORT",
        lambda: _bind(socket.SOCK_STREAM, MGMT_PORT),
    )
    yield tried(
        f"UDP port {_MDNS_PORT} (multicast DNS)",
        "being found by clients, discover",
        "let the program that holds it share it, or dial addresses (serve --no-mdns)",
        _join_mdns,
    )


def _hold_gamestream_ports() -> str:
    for loopback in _loopbacks():
        HeldPorts(loopback, Ports()).close()
    return "free"


def _bind(kind: int, port: int, loopbacks: Iterable[str] = (_LOOPBACK,)) -> str:
    for loopback in loopbacks:
        address = socket_address(loopback, port)
        with socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET, kind) as taken:
            if kind == socket.SOCK_STREAM:
                # As servers do: connections of a host that has just ended do not hold the port.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
    return "free"


def _loopbacks() -> list[str]:
    """Return the loopback address of each family that this machine speaks, as a host listens in both."""
    try:
        _bind(socket.SOCK_DGRAM, 0, (_LOOPBACK_V6,))
    except OSError:
        return [_LOOPBACK]
    return [_LOOPBACK, _LOOPBACK_V6]


def _join_mdns() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("", _MDNS_PORT))
        try:
            any_interface = socket.inet_aton("0.0.0.0")  # noqa: S104 - joins a group, binds nothing
            membership = struct.pack("4s4s", socket.inet_aton(_MDNS_GROUP), any_interface)
            shared.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as error:
            raise CapabilityError(
                f"no network takes multicast: {error.strerror}", "ip route add 224.0.0.0/4 dev INTERFACE"
            ) from error
    return "can be shared"


def _networks() -> Iterator[Finding]:
    """Name the addresses by which clients come, and whether the card behind them may wake this machine."""
    speaking = speaking_interfaces()
    if not speaking:
        fix = "connect this machine to a network: ip address"
        yield Finding(
            "network", False, "clients on other machines", "no interface is up with an address", fix
        )
    for interface in speaking:
        addresses = ", ".join(str(own.ip) for own in interface.addresses)
        yield Finding(f"network {interface.name}", True, "clients on other machines", addresses)
        wakeup = _DEVICES / interface.name / "device" / "power" / "wakeup"
        # A bridge, a tunnel or a card in a virtual machine has no such switch.
        with contextlib.suppress(OSError):
            yield Finding(
                f"wake by {interface.name}",
                wakeup.read_text().strip() == "enabled",
                "punktfunk wake, Moonlight's Wake PC",
                f"card {interface.mac}",
                f"ethtool -s {interface.name} wol g (as root), and Wake-on-LAN in the firmware",
            )


def _window() -> Iterator[Finding]:
    yield Finding(
        "PySDL2",
        importlib.util.find_spec("sdl2") is not None,
        "connect --present on this machine",
        "",
        "pip install 'punktfunk[present]'",
    )
