"""Sessions with their live figures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from punktfunk.mgmt.live_models import SessionBody
from punktfunk.mgmt.routing import ApiError, Control, failures, router

routes = router("sessions")


@routes.get("/sessions", operation_id="listSessions", responses=failures(401))
async def sessions(control: Control) -> list[SessionBody]:
    """List the sessions, oldest first, with the figures of their last second."""
    return [SessionBody.model_validate(session) for session in control.sessions()]


@routes.delete(
    "/sessions/{number}",
    operation_id="endSession",
    status_code=204,
    responses=failures(401, 403, 404, 422),
)
async def end(
    number: Annotated[int, Path(ge=1, description="Number of the session.")], control: Control
) -> None:
    """End a session from the host's side; its client is told."""
    if not control.end_session(number):
        raise ApiError(404, "no such session runs")
