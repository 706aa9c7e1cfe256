"""What every route shares: strict JSON bodies, errors as ``{"error": text}``, access to the host."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from punktfunk import log
from punktfunk.errors import PunktfunkError
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.models import ErrorBody

_MEANINGS = {
    400: "the body or the path is malformed",
    401: "no valid credentials",
    403: "a change made with a cookie lacks the proof that it comes from the console's own page",
    404: "there is none of that name",
    409: "not in the present state",
    413: "the body is longer than 64 KiB",
    415: "the body is not application/json",
    421: "the Host header names another host",
    422: "the body has not the shape that is asked for",
    429: "too many attempts; Retry-After says when to try again",
    500: "the change could not be stored; nothing was changed",
    503: "the native host is not served",
}


class ApiError(Exception):
    """An answer that is an error: ``status``, the ``text`` of its body, headers such as Retry-After."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class JsonRoute(APIRoute):
    """A route whose body, if it takes one, must be JSON: 415 for another type, 400 for what does not parse."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with the check before it."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            await _require_json(request)
            return await handle(request)

        return checked


def router(tag: str, prefix: str = "/api/v1") -> APIRouter:
    """Return a router for one part of the API; ``tag`` groups its operations in the document."""
    # Every request is looked at by the gate before it comes to a route.
    return APIRouter(prefix=prefix, tags=[tag], route_class=JsonRoute, responses=failures(421))


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of an operation that may fail with these statuses."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


def error_response(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as every part of the API gives it."""
    # JSON can spell halves of surrogate pairs, which UTF-8 cannot: a text that quotes a request may have some.
    return JSONResponse({"error": text.encode("utf-8", "replace").decode()}, status, headers)


def _control(request: Request) -> HostControl:
    control: HostControl = request.app.state.control
    return control


Control = Annotated[HostControl, Depends(_control)]
"""The host, as a parameter of a route."""


def handle_errors(app: FastAPI) -> None:
    """Make every error of the application an ``{"error": text}``."""

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_response(error.status, error.text, error.headers)

    async def shape(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # Where and what, never the value: it may be a secret that stands in the wrong place.
        words = "; ".join(f"{_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()[:5])
        return error_response(422, words)

    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(error.status_code, str(error.detail).lower(), dict(error.headers or {}))

    async def failed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PunktfunkError)
        log.get("mgmt").error("request failed", code=error.code, cause=error.cause)
        return error_response(500, error.cause)

    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return error_response(500, "internal error")  # logged by the shell, to which it is raised again

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(RequestValidationError, shape)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(PunktfunkError, failed)
    app.add_exception_handler(Exception, unforeseen)


async def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "expected a body of content type application/json")
    try:
        json.loads(await request.body())
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not valid JSON") from None


def _place(location: tuple[int | str, ...] | Any) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0])
