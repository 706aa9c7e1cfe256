"""Who the host is and whether it is up."""

from __future__ import annotations

from punktfunk.gamestream.serverinfo import APP_VERSION, GFE_VERSION
from punktfunk.mgmt.models import CompositorBody, Health, HostInfo, PortsBody
from punktfunk.mgmt.routing import Control, failures, router

routes = router("host")


@routes.get("/health", operation_id="getHealth")
async def health(control: Control) -> Health:
    """Return that the host is up. Needs no credentials."""
    facts = control.facts()
    return Health(version=facts.version, abi_version=facts.abi_version)


@routes.get("/host", operation_id="getHostInfo", responses=failures(401))
async def host_info(control: Control) -> HostInfo:
    """Return who the host is and on which ports it listens."""
    facts = control.facts()
    return HostInfo(
        hostname=facts.hostname,
        uniqueid=facts.unique_id,
        local_ip=facts.local_ip,
        version=facts.version,
        abi_version=facts.abi_version,
        app_version=APP_VERSION,
        gfe_version=GFE_VERSION,
        codecs=list(facts.codecs),
        ports=PortsBody.model_validate(facts.ports),
    )


@routes.get("/compositors", operation_id="listCompositors", responses=failures(401))
async def compositors(control: Control) -> list[CompositorBody]:
    """List the compositors that virtual outputs could come from, and which one is streamed, or would be."""
    return [CompositorBody.model_validate(compositor) for compositor in await control.compositors()]
