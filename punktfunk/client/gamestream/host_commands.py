"""What the commands print that ask a GameStream host for no stream: pair, list, quit."""

from __future__ import annotations

import platform
from pathlib import Path

from punktfunk.client.gamestream.host import GameHost, resolve
from punktfunk.printable import device_name
from punktfunk.terminal import say, say_json


async def pair_device(
    address: str, state_dir: Path, *, name: str | None, pin: str | None, as_json: bool
) -> int:
    """Pair with a host: print the PIN that has to be typed there, wait until that is done, and say what comes next."""
    host = GameHost(await resolve(address), state_dir)

    def show(pin: str) -> None:
        if as_json:
            say_json({"event": "pin", "pin": pin})
        else:
            say(f"PIN {pin}: type it at the host (punktfunk pin, its console or its API)")

    paired = await host.pair(name or device_name(platform.node()), show, pin)
    if as_json:
        say_json({"event": "paired", "host": paired.name, "unique_id": paired.unique_id})
    else:
        say(f"paired with {paired.name}")
        say(f"next: punktfunk gamestream stream {address}")
    return 0


async def list_apps(address: str, state_dir: Path, *, as_json: bool) -> int:
    """Print what the host is and its apps."""
    host = GameHost(await resolve(address), state_dir)
    info, apps = await host.info_as_paired(), await host.apps()
    if as_json:
        listed = [{"id": app.id, "title": app.title, "hdr": app.hdr} for app in apps]
        about = {"event": "host", "name": info.name, "state": info.state, "current_app": info.current_app}
        say_json({**about, "codec_modes": info.codec_modes, "apps": listed})
        return 0
    say(f"{info.name}: {'busy' if info.busy else 'free'}")
    for app in apps:
        running = "  (running)" if info.busy and app.id == info.current_app else ""
        say(f"{app.id:10}  {app.title}{running}")
    return 0


async def quit_app(address: str, state_dir: Path, *, as_json: bool) -> int:
    """End the app that runs, and say so once it is gone."""
    host = GameHost(await resolve(address), state_dir)
    await host.quit()
    if as_json:
        say_json({"event": "quit"})
    else:
        say("nothing runs at the host any more")
    return 0
