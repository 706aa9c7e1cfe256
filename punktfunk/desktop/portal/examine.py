"""Whether this session can be streamed by its portal, told without asking anybody."""

from __future__ import annotations

import os
from pathlib import Path

from punktfunk.desktop import Availability, BackendName
from punktfunk.desktop.app_id import APP_ID
from punktfunk.desktop.pipewire.library import require_library
from punktfunk.desktop.portal.choice import Offer, Plan, Sources, plan
from punktfunk.desktop.portal.granted import current_desktop
from punktfunk.desktop.portal.grants import GrantKey, GrantStore
from punktfunk.desktop.portal.requests import PORTAL, Portal
from punktfunk.desktop.session_bus import SessionBus, require_bus
from punktfunk.errors import PunktfunkError


def examine(folder: Path | None = None) -> Availability:
    """Return which portal answers, and whether it will ask; a portal that can be started by its bus is.

    ``folder`` is where a host keeps what it was granted; without it nothing was.
    """
    name = BackendName.PORTAL.value
    try:
        require_bus()
        require_library()
        with SessionBus() as bus:
            if not bus.name_has_owner(PORTAL) and not _in_a_session():
                return Availability(name, False, "no desktop session runs here", absent=True)
            portal = Portal(bus)
            app = APP_ID if portal.register(APP_ID) else ""
            offer = portal.offer()
            wanted = plan(offer)
            back_end = portal.back_end()
            portal.close()
    except PunktfunkError as error:
        return Availability(name, False, error.cause, error.hint)
    key = GrantKey(current_desktop(), back_end, wanted.kind, app)
    token = None if folder is None else GrantStore(folder).token(key)
    return Availability(name, True, _reason(offer, wanted, back_end, asks=token is None))


def _in_a_session() -> bool:
    """Whether there is a screen that a portal could show: outside of a session, starting it takes long, in vain."""
    return bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))


def _reason(offer: Offer, wanted: Plan, back_end: str, *, asks: bool) -> str:
    who = f"the portal of {back_end}" if back_end else "a portal"
    makes = ", makes monitors" if wanted.sources & Sources.VIRTUAL else ""
    if wanted.devices:
        way = "EIS" if wanted.has_eis else "its own methods"
        takes = f"RemoteDesktop {offer.remote_desktop}, input by {way}"
    else:
        takes = "no RemoteDesktop: without input"
    if not wanted.keeps:
        asking = "asks at each start"
    else:
        asking = "asks once, on its screen" if asks else "does not ask: a grant is kept"
    return f"{who} answers (ScreenCast {offer.screen_cast}{makes}; {takes}) and {asking}"
