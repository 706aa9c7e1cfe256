"""What a live link is made of: namespaces with addresses, veth pairs, TUN devices, queueing disciplines.

A :class:`Topology` is a context manager. Everything it makes lives inside namespaces of its run (nothing is
ever added to the namespace the runner itself is in) and is written to the registry before it exists, so
that it goes away at the end of the block, and after a SIGKILL at the next start (:mod:`harness.network.leftovers`).

Addresses are private to the namespaces: 10.77.S.0/24 and fd77:S::/64, S the number of the segment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.network import leftovers
from harness.network.namespaces import Namespace, netlink, remove_name
from harness.network.registry import Registration, namespace_folder
from punktfunk.errors import CapabilityError, HarnessError, PrivilegeError

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
"""``linux/if_tun.h``; the USO bits are in kernels from 6.2 on."""

TUN_PATH = Path("/dev/net/tun")
TUN_QUEUE_PACKETS = 10_000
"""Transmit queue of a TUN. The default of 500 loses packets of one frame before the pump is scheduled."""

MTU_BYTES = 1500
_CARRIER_S = 10.0
_LOOK_S = 0.002
_ETHTOOL_UDP_SEGMENTATION = "tx-udp-segmentation"


@dataclass(frozen=True)
class Address:
    """Addresses of one end of a segment."""

    ipv4: str
    ipv6: str


def segment_address(segment: int, end: int) -> Address:
    """Return the addresses of end ``end`` (1, 2, …) of segment ``segment`` (0…255)."""
    return Address(f"10.77.{segment}.{end}", f"fd77:{segment:x}::{end:x}")


class Topology:
    """Namespaces of one case, and what is in them; a context manager.

    ``run_id`` becomes part of every name. Raises :class:`PrivilegeError` without the right to make
    namespaces.
    """

    def __init__(self, run_id: str) -> None:
        self.registration = Registration(run_id)
        self.namespaces: dict[str, Namespace] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def callback(self, function: Any, *args: Any) -> None:
        """Call ``function`` before the namespaces are removed (last registered, first called)."""
        self._stack.callback(function, *args)

    def namespace(self, role: str) -> Namespace:
        """Make the namespace of ``role``: ``host``, ``client`` or ``router``."""
        path = namespace_folder() / self.registration.name(role)
        self.registration.add_namespace(path)
        made = Namespace.create(path)
        self.namespaces[role] = made
        return made

    def veth(self, a: Namespace, name_a: str, b: Namespace, name_b: str, *, mtu: int = MTU_BYTES) -> None:
        """Join two namespaces by a veth pair, born inside them; both ends are up and carry packets."""
        netlink(
            a,
            lambda ip: ip.link(
                "add",
                ifname=name_a,
                kind="veth",
                mtu=mtu,
                peer={"ifname": name_b, "mtu": mtu, "net_ns_fd": b.fd},
            ),
        )
        set_up(a, name_a)
        set_up(b, name_b)
        # The kernel tells itself of a carrier a little later; what is sent before that is dropped.
        until_it_carries(a, name_a)
        until_it_carries(b, name_b)

    def close(self) -> None:
        """Remove everything: what was registered, processes of the run, namespaces, the registry entry.

        One step that fails does not keep the others from being done; the first failure is raised at the end.
        """
        record = self.registration.record
        with contextlib.ExitStack() as last:
            last.callback(self.registration.close)
            for namespace in self.namespaces.values():
                last.callback(namespace.remove)
            for name in record.namespaces:  # also one whose making failed half-way
                last.callback(remove_name, Path(name))
            last.callback(
                leftovers.kill_processes,
                self.registration.id,
                [Path(name) for name in record.namespaces],
                record.processes,
            )
            last.callback(self._stack.close)
        self.namespaces.clear()


def index_of(ip: Any, device: str) -> int:
    """Return the interface index of ``device`` in the namespace of the conversation ``ip``."""
    found = ip.link_lookup(ifname=device)
    if not found:
        raise HarnessError(f"there is no network device {device}")
    return int(found[0])


def set_up(namespace: Namespace, device: str, **attributes: Any) -> None:
    """Bring ``device`` up, with further link attributes (``mtu``, ``txqlen``)."""
    netlink(namespace, lambda ip: ip.link("set", index=index_of(ip, device), state="up", **attributes))


def until_it_carries(namespace: Namespace, device: str) -> None:
    """Wait until ``device``, whose other end is up, carries packets; raise :class:`HarnessError` after 10 s."""

    def talk(ip: Any) -> bool:
        index = index_of(ip, device)
        deadline = time.monotonic() + _CARRIER_S
        while True:
            [link] = ip.get_links(index)
            if link.get_attr("IFLA_OPERSTATE") == "UP":
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)

    if not netlink(namespace, talk):
        raise HarnessError(f"{device} has no carrier after {_CARRIER_S:g} s")


def add_address(namespace: Namespace, device: str, address: Address) -> None:
    """Give ``device`` an IPv4 /24 and an IPv6 /64 address that can be used at once."""

    def talk(ip: Any) -> None:
        index = index_of(ip, device)
        ip.addr("add", index=index, address=address.ipv4, prefixlen=24)
        # IFA_F_NODAD (rtnetlink(7)): no duplicate address detection, which would hold the address back for
        # a second.
        ip.addr("add", index=index, address=address.ipv6, prefixlen=64, flags=0x02)

    netlink(namespace, talk)


def add_neighbour(namespace: Namespace, device: str, address: Address, hardware: str) -> None:
    """Fix in ``namespace`` whose ``address`` is, so that a lossy link never loses the question."""

    def talk(ip: Any) -> None:
        index = index_of(ip, device)
        for neighbour in (address.ipv4, address.ipv6):
            # NUD_PERMANENT (linux/neighbour.h)
            ip.neigh("replace", dst=neighbour, lladdr=hardware, ifindex=index, state=0x80)

    netlink(namespace, talk)


def hardware_address(namespace: Namespace, device: str) -> str:
    """Return the hardware address of ``device``."""

    def talk(ip: Any) -> str:
        [link] = ip.get_links(index_of(ip, device))
        return str(link.get_attr("IFLA_ADDRESS"))

    return netlink(namespace, talk)


def add_route(namespace: Namespace, segment: int, gateway: Address) -> None:
    """Reach segment ``segment`` through ``gateway``."""

    def talk(ip: Any) -> None:
        ip.route("add", dst=f"10.77.{segment}.0/24", gateway=gateway.ipv4)
        ip.route("add", dst=f"fd77:{segment:x}::/64", gateway=gateway.ipv6)

    netlink(namespace, talk)


def write_sysctl(namespace: Namespace, name: str, value: str) -> None:
    """Write a ``net.*`` sysctl of the namespace; ``name`` is its path under /proc/sys/net."""

    def inside() -> None:
        # /proc/self/net belongs to the process, /proc/sys/net to the task that opens it.
        Path("/proc/sys/net", name).write_text(value, encoding="ascii")

    namespace.run(inside)


def quiet_ipv6(namespace: Namespace) -> None:
    """Keep the kernel from sending packets of its own, so that packet n of the link is packet n of the sender.

    No duplicate address detection, no router solicitations, no link-local address (whose join is announced).
    Call it before the devices are made, which inherit it.
    """
    for interface in ("all", "default"):
        for name, value in (
            ("router_solicitations", "0"),
            ("accept_dad", "0"),
            ("addr_gen_mode", "1"),
            # Groups that a device joins are reported twice, at random times: at once instead of within a second.
            ("mldv1_unsolicited_report_interval", "1"),
            ("mldv2_unsolicited_report_interval", "1"),
        ):
            write_sysctl(namespace, f"ipv6/conf/{interface}/{name}", value)


def open_tun(namespace: Namespace, device: str, *, mtu: int = MTU_BYTES) -> int:
    """Open a TUN in ``namespace``, up, with vnet headers and UDP segmentation offload; return its descriptor.

    Each read yields a 10-byte ``virtio_net_hdr`` and an IP packet that may be a whole GSO train (up to 64
    KiB). The device lives as long as the descriptor. Raises :class:`CapabilityError` naming what is
    missing.
    """

    def inside() -> int:
        try:
            fd = os.open(TUN_PATH, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise CapabilityError(f"{TUN_PATH} does not exist", "load the module: modprobe tun") from error
        except PermissionError as error:
            raise PrivilegeError(
                f"{TUN_PATH} cannot be opened", f"run as root, or as root once: chmod 0666 {TUN_PATH}"
            ) from error
        try:
            flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), flags))
            fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EPERM, errno.EACCES):
                raise PrivilegeError("a TUN may not be made in this namespace", "run as root") from error
            if error.errno == errno.EINVAL:
                raise CapabilityError(
                    "this kernel's TUN has no UDP segmentation offload", "use Linux 6.2 or newer"
                ) from error
            raise
        return fd

    fd = namespace.run(inside)
    try:
        set_up(namespace, device, mtu=mtu, txqlen=TUN_QUEUE_PACKETS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def udp_segmentation(namespace: Namespace, device: str, enable: bool | None = None) -> bool:
    """Read or switch ``tx-udp-segmentation`` of ``device`` and return what it is now.

    Off means that the stack cuts a GSO train before the device sees it, so a queueing discipline behind it
    decides on single packets. Raises :class:`HarnessError` when the device does not take the value.
    """

    def inside() -> bool:
        from pyroute2.ethtool.ioctl import IoctlEthtool

        ethtool = IoctlEthtool(device)
        try:
            features = ethtool.get_features()
            if enable is not None:
                features[_ETHTOOL_UDP_SEGMENTATION] = enable
                ethtool.set_features(features)
                features = ethtool.get_features()
            return bool(features.is_active(_ETHTOOL_UDP_SEGMENTATION))
        finally:
            ethtool.close()

    now = namespace.run(inside)
    if enable is not None and now is not enable:
        raise HarnessError(f"{device} keeps {_ETHTOOL_UDP_SEGMENTATION} {'on' if now else 'off'}")
    return now


def tc(namespace: Namespace, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run the ``tc`` program inside ``namespace`` and return what it prints.

    For what pyroute2 cannot encode. Raises :class:`CapabilityError` without the program or the kernel's
    module, :class:`HarnessError` with the program's own words otherwise.
    """
    program = shutil.which("tc") or shutil.which("tc", path="/usr/sbin:/sbin")
    if program is None:
        raise CapabilityError("the tc program is not installed", "apt-get install iproute2")

    def inside() -> subprocess.CompletedProcess[str]:
        # The child inherits the namespace of the thread that starts it, which waits for its end.
        return subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )

    done = namespace.run(inside)
    if done.returncode == 0:
        return done.stdout
    words = " ".join(done.stderr.split())
    if "qdisc kind is unknown" in words or "No such file" in words:
        raise CapabilityError(f"the kernel lacks a queueing discipline: {words}", "use the tun link instead")
    raise HarnessError(f"tc {' '.join(arguments)}: {words}")


@contextlib.contextmanager
def topology(run_id: str) -> Iterator[Topology]:
    """Clean what dead runs left, then yield a new :class:`Topology`."""
    leftovers.clean()
    with Topology(run_id) as made:
        yield made
