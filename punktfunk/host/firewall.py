"""Which firewall stands before this host, and the command that lets clients through it.

What rules it has only root can read, so that nobody is told that it is closed: just what has to be open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Firewall = Literal["ufw", "firewalld", "nftables"]

UFW_SETTINGS = Path("/etc/ufw/ufw.conf")
PROCESSES = Path("/proc")


def active_firewall(ufw_settings: Path = UFW_SETTINGS, processes: Path = PROCESSES) -> Firewall | None:
    """Return the firewall that this machine runs, as far as everybody can see it; ``None`` for none or another.

    Plain nftables has no process, and its rules only root can read.
    """
    with contextlib.suppress(OSError):
        # In bytes: what a person has commented, and the names of others' processes, need not be text.
        if any(line.strip().lower() == b"enabled=yes" for line in ufw_settings.read_bytes().splitlines()):
            return "ufw"
    for name in processes.glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_bytes().strip() == b"firewalld":
                return "firewalld"
    return None


def opening(firewall: Firewall, tcp: Sequence[int], udp: Sequence[int], *, lasting: bool = False) -> str:
    """Return the command that opens some ports, with ``lasting`` for good where that is another one.

    Rules of nftables last until the machine is off, unless its file of rules (/etc/nftables.conf) has them too.
    """
    each = {kind: texts for kind, texts in (("tcp", ranges(tcp)), ("udp", ranges(udp))) if texts}
    if firewall == "ufw":
        return " && ".join(
            f"ufw allow {','.join(texts).replace('-', ':')}/{kind}" for kind, texts in each.items()
        )
    if firewall == "nftables":
        return " && ".join(
            f"nft add rule inet filter input {kind} dport '{{ {', '.join(texts)} }}' accept"
            for kind, texts in each.items()
        )
    ports = [f"--add-port={text}/{kind}" for kind, texts in each.items() for text in texts]
    if lasting:
        return " ".join(["firewall-cmd --permanent", *ports, "&& firewall-cmd --reload"])
    return " ".join(["firewall-cmd", *ports])


def ranges(ports: Sequence[int]) -> list[str]:
    """Return ports as texts, ascending, neighbours as a range: ``["9777", "47998-48000"]``."""
    found: list[list[int]] = []
    for port in sorted(set(ports)):
        if found and found[-1][-1] == port - 1:
            found[-1].append(port)
        else:
            found.append([port])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found]
