"""Capture what passes a device into a pcapng file, datagram by datagram.

``python -m harness.network.capture DEVICE FILE`` inside the device's namespace, until SIGTERM or the end of its
input. A GSO or GRO train, which the kernel carries as one packet of up to 64 KiB, is cut into the datagrams that it
stands for, with their own lengths and checksums. Payloads stay sealed: no key is written anywhere. The last block
says how many packets were missed, so that whoever reads the capture knows whether it is all that came.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.network.pcapng import LINKTYPE_ETHERNET, LINKTYPE_RAW, Writer
from punktfunk.terminal import say_json

CAPTURE_NAME = "client.pcapng"
"""What a case's capture is called, in the case's folder."""
ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_VNET_HDR = 263, 6, 15
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33
_ARPHRD_ETHER = 1
_BUFFER_BYTES = 64 << 20
_VNET_BYTES = 10
_NEEDS_CSUM, _GSO_UDP_L4 = 1, 5
_UDP = 17
_DRAIN_S = 2.0
"""How long the end waits for a buffer that is filled as fast as it is read."""


def datagrams(packet: bytes, network: int) -> Iterator[bytes]:
    """Cut a captured packet, with its ``virtio_net_hdr``, into what would be on a wire.

    ``network`` is where the IP header begins behind the vnet header (14 for Ethernet, 0 for a TUN).
    """
    flags, gso_type, _header, gso_size, start, offset = struct.unpack_from("<BBHHHH", packet)
    frame = packet[_VNET_BYTES:]
    if gso_type & 0x7F != _GSO_UDP_L4 or not gso_size:
        yield _checksummed(frame, start, offset) if flags & _NEEDS_CSUM else frame
        return
    ip = frame[network:]
    udp_at = 40 if ip[0] >> 4 == 6 else (ip[0] & 15) * 4
    payload = ip[udp_at + 8 :]
    for number, place in enumerate(range(0, len(payload), gso_size)):
        part = payload[place : place + gso_size]
        header = bytearray(ip[:udp_at])
        length = 8 + len(part)
        if header[0] >> 4 == 6:
            struct.pack_into("!H", header, 4, length)
        else:
            identification = (struct.unpack_from("!H", header, 4)[0] + number) & 0xFFFF
            struct.pack_into("!HH", header, 2, udp_at + length, identification)
            struct.pack_into("!H", header, 10, 0)
            struct.pack_into("!H", header, 10, _fold(_sum(header)) ^ 0xFFFF)
        udp = ip[udp_at : udp_at + 4] + struct.pack("!HH", length, 0) + part
        pseudo = header[8:40] if header[0] >> 4 == 6 else header[12:20]
        checksum = _fold(_sum(pseudo) + _UDP + length + _sum(udp)) ^ 0xFFFF or 0xFFFF
        yield frame[:network] + bytes(header) + udp[:6] + struct.pack("!H", checksum) + part


def _checksummed(frame: bytes, start: int, offset: int) -> bytes:
    # The checksum field holds the sum of the pseudo header; the device would have added the rest.
    checksum = _fold(_sum(frame[start:])) ^ 0xFFFF or 0xFFFF
    return frame[: start + offset] + struct.pack("!H", checksum) + frame[start + offset + 2 :]


def _sum(data: bytes | bytearray) -> int:
    padded = bytes(data) + bytes(len(data) % 2)
    return sum(struct.unpack(f"!{len(padded) // 2}H", padded))


def _fold(value: int) -> int:
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def _take(source: socket.socket, out: Writer, network: int) -> int:
    """Write the next packet, datagram by datagram; return how many they are."""
    try:
        packet, ancillary, _flags, _address = source.recvmsg(70_000, 64)
    except OSError as error:
        if error.errno != errno.ENETDOWN:
            raise
        return 0  # said once where the device goes; what came before can still be read
    stamp = next((data for _level, kind, data in ancillary if kind == _SO_TIMESTAMPNS), None)
    seconds, ns = struct.unpack("qq", stamp[:16]) if stamp else (0, 0)
    count = 0
    for datagram in datagrams(packet, network):
        out.write(seconds * 10**9 + ns, datagram)
        count += 1
    return count


def main() -> int:
    """Capture until told to end; the last line of standard output says how many packets there were."""
    device, path = sys.argv[1:3]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as source:
        source.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        source.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            source.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        source.bind((device, ETH_P_ALL))
        ethernet = source.getsockname()[3] == _ARPHRD_ETHER
        running = True

        def end(_number: int, _frame: object) -> None:
            nonlocal running
            running = False

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say_json({"event": "ready"})
        seen = 0
        linktype = LINKTYPE_ETHERNET if ethernet else LINKTYPE_RAW
        with Writer(Path(path).open("wb", buffering=1 << 16), linktype, device) as out:
            poll = select.poll()
            poll.register(source, select.POLLIN)
            poll.register(sys.stdin, select.POLLIN)
            while running:
                ready = {fd for fd, _event in poll.poll(200)}
                if source.fileno() in ready:
                    seen += _take(source, out, 14 if ethernet else 0)
                elif sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 1):
                    break
            # What came before the end is in the socket's buffer, and part of the capture.
            poll.unregister(sys.stdin)
            until = time.monotonic() + _DRAIN_S
            while poll.poll(0) and time.monotonic() < until:
                seen += _take(source, out, 14 if ethernet else 0)
            # struct tpacket_stats: all that passed the device, and those that the buffer had no room for.
            passed, missed = struct.unpack("II", source.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            out.statistics(time.time_ns(), passed, missed)
        say_json({"event": "ended", "packets": seen, "missed": missed})
    return 0


if __name__ == "__main__":
    sys.exit(main())
