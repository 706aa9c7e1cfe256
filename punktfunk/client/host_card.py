"""What it takes to wake a host, remembered while it is awake."""

from __future__ import annotations

from pathlib import Path

from punktfunk.client.dial import host_and_port
from punktfunk.client.known_hosts import KnownHosts
from punktfunk.neighbours import hardware_address


def note_card(state_dir: Path | None, place: tuple[str, int], dialled: str) -> None:
    """Remember of a paired host that was just reached its network card, and what it was called in ``dialled``.

    Of a host behind a router no card is seen, and what was known stays. Raises ``TrustStoreError``.
    """
    if state_dir is not None:
        name, _ = host_and_port(dialled)
        KnownHosts(state_dir).note(place, mac=hardware_address(place[0]) or "", called=name or "")
