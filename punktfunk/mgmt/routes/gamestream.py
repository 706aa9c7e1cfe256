"""The GameStream host: Moonlight clients, their PIN, their session."""

from __future__ import annotations

import re

from fastapi import Response

from punktfunk.mgmt.models import (
    FINGERPRINT_PATTERN,
    MoonlightClientBody,
    PendingBody,
    PinOrder,
    PinPending,
    Status,
)
from punktfunk.mgmt.routing import ApiError, Control, failures, router

routes = router("gamestream")

_FINGERPRINT = re.compile(FINGERPRINT_PATTERN)
_PIN = re.compile(r"[0-9]{1,16}")


@routes.get("/status", operation_id="getStatus", responses=failures(401))
async def status(control: Control) -> Status:
    """Return the state of the GameStream host."""
    return Status.model_validate(control.gamestream())


@routes.get("/clients", operation_id="listPairedClients", responses=failures(401))
async def clients(control: Control) -> list[MoonlightClientBody]:
    """List the paired Moonlight clients."""
    return [MoonlightClientBody.model_validate(client) for client in control.moonlight_clients()]


@routes.delete(
    "/clients/{fingerprint}",
    operation_id="unpairClient",
    status_code=204,
    responses=failures(400, 401, 403, 404, 500),
)
async def unpair(fingerprint: str, control: Control) -> None:
    """Unpair a Moonlight client."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ApiError(400, "a fingerprint is 64 hex digits")
    if not control.unpair_moonlight(fingerprint.lower()):
        raise ApiError(404, "no such client is paired")


@routes.get("/pair", operation_id="getPairingStatus", responses=failures(401))
async def pairing(control: Control) -> PinPending:
    """List the Moonlight clients that wait for their PIN to be entered here."""
    devices = [PendingBody.model_validate(device) for device in control.waiting_for_pin()]
    return PinPending(pin_pending=bool(devices), devices=devices)


@routes.post(
    "/pair/pin",
    operation_id="submitPairingPin",
    status_code=204,
    responses=failures(400, 401, 403, 409, 413, 415, 422),
)
async def submit_pin(order: PinOrder, control: Control) -> None:
    """Enter the PIN that a Moonlight client shows; it is one guess of that device's."""
    if not _PIN.fullmatch(order.pin):
        raise ApiError(400, "a PIN is 1 to 16 digits")
    outcome = control.submit_pin(order.pin, order.device, order.name)
    if outcome == "several wait":
        raise ApiError(409, "several clients wait for a PIN: name the device")
    if outcome == "nobody waits":
        raise ApiError(
            409, "no client waits for a PIN" if order.device is None else "that device does not wait"
        )


@routes.delete(
    "/pair/{fingerprint}",
    operation_id="turnAwayDevice",
    status_code=204,
    responses=failures(400, 401, 403, 404),
)
async def turn_away(fingerprint: str, control: Control) -> None:
    """Turn a Moonlight client away that waits for its PIN, for ten minutes."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ApiError(400, "a fingerprint is 64 hex digits")
    if not control.turn_away(fingerprint):
        raise ApiError(404, "no such device waits")


@routes.delete("/session", operation_id="stopSession", status_code=204, responses=failures(401, 403))
async def stop_session(control: Control) -> None:
    """End the GameStream session, if there is one."""
    control.stop_gamestream()


@routes.post(
    "/session/idr",
    operation_id="requestIdr",
    status_code=202,
    response_class=Response,
    responses=failures(401, 403, 409),
)
async def request_idr(control: Control) -> None:
    """Make the next GameStream frame a key frame."""
    if not control.request_gamestream_idr():
        raise ApiError(409, "nothing streams")
