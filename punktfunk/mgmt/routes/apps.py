"""The apps that clients can start, whatever their wire."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from punktfunk.app import DESKTOP, MAX_APP_ID, App
from punktfunk.errors import ConfigError
from punktfunk.mgmt.models import AppBody, AppOrder, AppRunBody
from punktfunk.mgmt.routing import ApiError, Control, failures, router

routes = router("apps")

Number = Annotated[int, Path(ge=1, le=MAX_APP_ID, description="Number of the app.")]
Run = Annotated[int, Path(ge=1, le=MAX_APP_ID, description="Number of the run.")]


@routes.get("/apps", operation_id="listApps", responses=failures(401))
async def apps(control: Control) -> list[AppBody]:
    """List the apps, the desktop first."""
    return [AppBody.model_validate(app) for app in control.apps()]


@routes.post(
    "/apps", operation_id="addApp", status_code=201, responses=failures(400, 401, 403, 413, 415, 422, 500)
)
async def add(order: AppOrder, control: Control) -> AppBody:
    """Add an app; its number is the host's to give, and never given again."""
    try:
        return AppBody.model_validate(await control.add_app(_wanted(order)))
    except ConfigError as error:
        raise ApiError(422, error.cause) from None


@routes.put(
    "/apps/{number}",
    operation_id="changeApp",
    responses=failures(400, 401, 403, 404, 409, 413, 415, 422, 500),
)
async def change(number: Number, order: AppOrder, control: Control) -> AppBody:
    """Change an app; clients go on to know it by its number."""
    _require_changeable(number)
    try:
        app = await control.change_app(number, _wanted(order))
    except ConfigError as error:
        raise ApiError(422, error.cause) from None
    if app is None:
        raise ApiError(404, "there is no such app")
    return AppBody.model_validate(app)


@routes.delete(
    "/apps/{number}",
    operation_id="removeApp",
    status_code=204,
    responses=failures(401, 403, 404, 409, 422, 500),
)
async def remove(number: Number, control: Control) -> None:
    """Remove an app. One that runs goes on."""
    _require_changeable(number)
    if not await control.remove_app(number):
        raise ApiError(404, "there is no such app")


@routes.get("/running-apps", operation_id="listRunningApps", responses=failures(401))
async def running(control: Control) -> list[AppRunBody]:
    """List the apps that run, in the order of their launches, those included that nobody streams now."""
    return [AppRunBody.model_validate(run) for run in control.app_runs()]


@routes.delete(
    "/running-apps/{run}",
    operation_id="quitApp",
    status_code=204,
    responses=failures(401, 403, 404, 422),
)
async def quit_app(run: Run, control: Control) -> None:
    """Quit an app: its streams, its program and a desktop of its own have ended when this is answered."""
    if not await control.quit_app(run):
        raise ApiError(404, "no app runs by that number")


def _require_changeable(number: int) -> None:
    if number == DESKTOP.id:
        raise ApiError(409, "the desktop is always there")


def _wanted(order: AppOrder) -> App:
    return App(
        DESKTOP.id, order.title, tuple(order.command), order.folder, order.own_desktop, order.compositor
    )
