"""Pairing and clients of the native host."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from punktfunk.mgmt.models import ArmOrder, NativeClientBody, NativePairingBody, PendingBody
from punktfunk.mgmt.routing import ApiError, Control, failures, router

routes = router("native")


def _require_native(control: Control) -> None:
    if not control.native_enabled:
        raise ApiError(503, "the native host is not served (--no-native)")


Served = Depends(_require_native)
Fingerprint = Annotated[str, "SHA-256 of the client's certificate in hex, any case"]


@routes.get("/native/pair", operation_id="getNativePairing", responses=failures(401))
async def pairing(control: Control) -> NativePairingBody:
    """Return the pairing window, with its PIN while it is open."""
    return NativePairingBody.model_validate(control.pairing())


@routes.post(
    "/native/pair/arm",
    operation_id="armNativePairing",
    responses=failures(400, 401, 403, 413, 415, 422, 503),
    dependencies=[Served],
)
async def arm(order: ArmOrder, control: Control) -> NativePairingBody:
    """Open the pairing window with a fresh PIN, which one device can use once."""
    return NativePairingBody.model_validate(control.arm_pairing(order.ttl_secs, order.fingerprint))


@routes.delete(
    "/native/pair",
    operation_id="disarmNativePairing",
    status_code=204,
    responses=failures(401, 403, 503),
    dependencies=[Served],
)
async def disarm(control: Control) -> None:
    """Close the pairing window."""
    control.disarm_pairing()


@routes.get("/native/clients", operation_id="listNativeClients", responses=failures(401))
async def clients(control: Control) -> list[NativeClientBody]:
    """List the paired clients."""
    return [NativeClientBody.model_validate(client) for client in control.native_clients()]


@routes.delete(
    "/native/clients/{fingerprint}",
    operation_id="unpairNativeClient",
    status_code=204,
    responses=failures(401, 403, 404, 500, 503),
    dependencies=[Served],
)
async def unpair(fingerprint: Fingerprint, control: Control) -> None:
    """Unpair a client; its live sessions end at once."""
    if not control.unpair_native(fingerprint):
        raise ApiError(404, "no such client is paired")


@routes.get("/native/pending", operation_id="listPendingDevices", responses=failures(401))
async def pending(control: Control) -> list[PendingBody]:
    """List the devices that were refused because they are not paired, and wait for a word."""
    return [PendingBody.model_validate(device) for device in control.pending()]


@routes.post(
    "/native/pending/{fingerprint}/approve",
    operation_id="approvePendingDevice",
    status_code=204,
    responses=failures(401, 403, 404, 500, 503),
    dependencies=[Served],
)
async def approve(fingerprint: Fingerprint, control: Control) -> None:
    """Pair a device that waits, without a PIN."""
    if not control.approve(fingerprint):
        raise ApiError(404, "no such device waits")


@routes.post(
    "/native/pending/{fingerprint}/deny",
    operation_id="denyPendingDevice",
    status_code=204,
    responses=failures(401, 403, 404, 503),
    dependencies=[Served],
)
async def deny(fingerprint: Fingerprint, control: Control) -> None:
    """Turn a device that waits away for ten minutes."""
    if not control.deny(fingerprint):
        raise ApiError(404, "no such device waits")
