"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from punktfunk.mgmt.metrics import CONTENT_TYPE, exposition
from punktfunk.mgmt.routing import Control, failures, router

routes = router("metrics", prefix="")


@routes.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={
        **failures(401),
        200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    },
)
async def metrics(request: Request, control: Control) -> Response:
    """Return what is counted and measured, in the text format of Prometheus."""
    return Response(exposition(control, request.app.state.events), media_type=CONTENT_TYPE)
