"""Settings: what they are, and changing them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body

from punktfunk.errors import ConfigError
from punktfunk.mgmt.live_models import SettingBody
from punktfunk.mgmt.routing import ApiError, Control, failures, router

MAX_CHANGES = 64

routes = router("settings")

Changes = Annotated[
    dict[str, str | int | float | bool | None],
    Body(
        min_length=1, max_length=MAX_CHANGES, description="Values by name; null where a setting may be empty."
    ),
]


@routes.get("/settings", operation_id="listSettings", responses=failures(401))
async def settings(control: Control) -> list[SettingBody]:
    """List the settings with their effective values."""
    return [SettingBody.model_validate(setting) for setting in control.settings()]


@routes.patch("/settings", operation_id="changeSettings", responses=failures(400, 401, 403, 415, 422, 500))
async def change(changes: Changes, control: Control) -> list[SettingBody]:
    """Change settings: all that are named, or none when one of them is invalid."""
    try:
        await control.change_settings(changes)
    except ConfigError as error:
        raise ApiError(422, error.cause) from None
    return [SettingBody.model_validate(setting) for setting in control.settings()]
