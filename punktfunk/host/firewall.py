"""Which firewall stands before this host, and the command that lets clients through it.

What rules it has only root can read, so that nobody is told that it is closed: just what has to be open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Firewall = Literal["ufw", "firewalld"]

UFW_SETTINGS = Path("/etc/ufw/ufw.conf")
PROCESSES = Path("/proc")


def active_firewall(ufw_settings: Path = UFW_SETTINGS, processes: Path = PROCESSES) -> Firewall | None:
    """Return the firewall that this machine runs, as far as everybody can see it; ``None`` for none or another."""
    with contextlib.suppress(OSError):
        # In bytes: what a person has commented, and the names of others' processes, need not be text.
        if any(line.strip().lower() == b"enabled=yes" for line in ufw_settings.read_bytes().splitlines()):
            return "ufw"
    for name in processes.glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_bytes().strip() == b"firewalld":
                return "firewalld"
    return None


def opening(firewall: Firewall, tcp: Sequence[int], udp: Sequence[int]) -> str:
    """Return the command that opens some ports."""
    each = {"tcp": ranges(tcp), "udp": ranges(udp)}
    if firewall == "ufw":
        orders = (
            f"ufw allow {','.join(texts).replace('-', ':')}/{kind}" for kind, texts in each.items() if texts
        )
        return " && ".join(orders)
    return " ".join(
        ["firewall-cmd", *(f"--add-port={text}/{kind}" for kind, texts in each.items() for text in texts)]
    )


def ranges(ports: Sequence[int]) -> list[str]:
    """Return ports as texts, ascending, neighbours as a range: ``["9777", "47998-48000"]``."""
    found: list[list[int]] = []
    for port in sorted(set(ports)):
        if found and found[-1][-1] == port - 1:
            found[-1].append(port)
        else:
            found.append([port])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found]
