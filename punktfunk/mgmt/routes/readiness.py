"""Can a client stream now, and if not, why."""

from __future__ import annotations

from punktfunk.mgmt.live_models import ReadinessBody
from punktfunk.mgmt.routing import Control, failures, router

routes = router("host")


@routes.get("/readiness", operation_id="getReadiness", responses=failures(401))
async def readiness(control: Control) -> ReadinessBody:
    """Check what a stream needs and what makes it better; each failed check says what to do."""
    return ReadinessBody.model_validate(await control.readiness())
