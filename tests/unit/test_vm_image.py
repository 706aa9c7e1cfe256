"""The pieces of the virtual machine's image."""

from __future__ import annotations

import gzip
import lzma
import struct

import pytest

from harness.vm.image import boot_order, cpio, extract_vmlinux
from punktfunk.errors import HarnessError


def bzimage(payload: bytes, setup_sectors: int = 3) -> bytes:
    header = bytearray((setup_sectors + 1) * 512)
    header[0x1F1] = setup_sectors
    struct.pack_into("<II", header, 0x248, 16, len(payload))
    return bytes(header) + bytes(16) + payload + b"trailing code"


@pytest.mark.parametrize("compress", [lzma.compress, gzip.compress])
def test_the_kernel_inside_a_bzimage_is_found_and_unpacked(compress: object) -> None:
    elf = b"\x7fELF" + bytes(range(256)) * 50
    assert callable(compress)
    assert extract_vmlinux(bzimage(compress(elf))) == elf


def test_a_payload_that_is_no_kernel_is_refused() -> None:
    with pytest.raises(HarnessError, match="no ELF kernel"):
        extract_vmlinux(bzimage(gzip.compress(b"something else")))
    with pytest.raises(HarnessError, match="unknown way"):
        extract_vmlinux(bzimage(b"????????"))


def test_modules_load_after_what_they_need() -> None:
    text = "k/9p.ko: k/netfs.ko k/9pnet.ko\nk/netfs.ko:\nk/9pnet.ko:\n"
    text += "k/virtio-pci.ko: k/virtio.ko\nk/virtio.ko:\n"
    assert boot_order(text, ("virtio_pci", "9p", "built_in")) == [
        "k/virtio.ko",
        "k/virtio-pci.ko",
        "k/9pnet.ko",
        "k/netfs.ko",
        "k/9p.ko",
    ]


def test_the_archive_has_the_layout_of_newc() -> None:
    data = cpio([("bin", 0o040755, b""), ("init", 0o100755, b"#!/bin/sh\n")])
    found = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        body = (at + 110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            break
        found.append((name, fields[1], data[body : body + fields[6]]))
        at = (body + fields[6] + 3) & ~3
    assert found == [("bin", 0o040755, b""), ("init", 0o100755, b"#!/bin/sh\n")]
