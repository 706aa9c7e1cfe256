"""The API's description, open to everybody who reaches the port."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from punktfunk.mgmt.openapi import STYLE, document, page
from punktfunk.mgmt.routing import router

routes = router("description", prefix="")


@routes.get("/api/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(document(request.app))


@routes.get("/api/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return a page that lists the operations."""
    return HTMLResponse(page(document(request.app)))


@routes.get("/api/docs.css", include_in_schema=False)
async def style() -> Response:
    """Return the style of that page."""
    return Response(STYLE, media_type="text/css")
