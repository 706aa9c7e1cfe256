"""Pair at the host that runs here: ``punktfunk pin`` enters a client's PIN, ``punktfunk arm`` gives its own."""

from __future__ import annotations

from dataclasses import dataclass

from punktfunk.errors import ManagementError, UsageError
from punktfunk.mgmt.remote import RunningHost


@dataclass(frozen=True, slots=True)
class WaitingDevice:
    """A Moonlight client that shows a PIN."""

    fingerprint: str
    name: str
    address: str
    seconds: int
    """How long it has waited."""

    def __str__(self) -> str:
        return f"{self.fingerprint[:12]}  {self.name}  {self.address}  waits {self.seconds} s"


def waiting_devices(host: RunningHost) -> list[WaitingDevice]:
    """Return who waits, oldest first."""
    said = host.call("GET", "/api/v1/pair")
    try:
        return [
            WaitingDevice(str(d["fingerprint"]), str(d["name"]), str(d["source"]), int(d["age_secs"]))
            for d in said["devices"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ManagementError(
            f"the host at {host.url} does not say who waits", "it is of another version: start it anew"
        ) from error


def enter_pin(host: RunningHost, pin: str, device: str | None, name: str | None) -> WaitingDevice:
    """Give a PIN to the device whose fingerprint begins like ``device``, or to the only one; return which it was.

    Raises ``UsageError`` when it is not clear whose PIN it is, ``ManagementError`` when the host does not take it.
    """
    if not (pin.isascii() and pin.isdecimal() and len(pin) <= 16):
        raise UsageError(f"{pin!r} is no PIN", "type the digits that the client shows")
    waiting = waiting_devices(host)
    wanted = (device or "").replace(":", "").lower()
    found = [each for each in waiting if each.fingerprint.startswith(wanted)]
    if not waiting:
        raise UsageError("no Moonlight client waits for a PIN", "choose this host in the client first")
    if len(found) != 1:
        listed = "; ".join(map(str, waiting))
        which = (
            "several clients wait"
            if device is None
            else f"{len(found)} clients that wait begin with {device!r}"
        )
        raise UsageError(f"{which}: {listed}", "name one: --device and the first digits of its line")
    body = {"pin": pin, "device": found[0].fingerprint, "name": name}
    host.call("POST", "/api/v1/pair/pin", body)
    return found[0]


def arm_pairing(host: RunningHost, seconds: int) -> tuple[str, int]:
    """Open the host's pairing window and return its PIN and for how many seconds that is valid."""
    said = host.call("POST", "/api/v1/native/pair/arm", {"ttl_secs": seconds})
    try:
        return str(said["pin"]), int(said["expires_in_secs"])
    except (KeyError, TypeError, ValueError) as error:
        raise ManagementError(
            f"the host at {host.url} does not tell its PIN", "it is of another version: start it anew"
        ) from error
