"""A sound server of the session's own: PipeWire with a null sink that programs play into.

The sink is part of the server's configuration, so it is there as soon as the server is, and needs no tool to
make it. No hardware is touched. It has the speakers of 7.1, so that programs with surround sound play that; who records
fewer channels gets it mixed down.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from punktfunk.desktop.children import Child, Children
from punktfunk.desktop.pipewire.objects import PORT, arrival
from punktfunk.desktop.starting import await_sign, await_socket
from punktfunk.errors import CapabilityError

SINK: Final = "punktfunk"
"""Name of the sink; what is played into it is recorded from ``punktfunk.monitor``."""
_SERVER: Final = "pipewire"
_MANAGER: Final = "wireplumber"
_SOUND: Final = "pipewire-pulse"
_QUANTUM: Final = 128
"""Frames a cycle of the graph: 2.7 ms at 48 kHz."""

_CONFIG: Final = f"""\
context.properties = {{
  default.clock.rate = 48000
  default.clock.quantum = {_QUANTUM}
  default.clock.min-quantum = {_QUANTUM}
  default.clock.max-quantum = {_QUANTUM}
}}
context.objects = [
  {{ factory = adapter
    args = {{
      factory.name = support.null-audio-sink
      node.name = {SINK}
      node.description = "punktfunk"
      media.class = Audio/Sink
      audio.position = [ FL FR FC LFE RL RR SL SR ]
      object.linger = true
    }}
  }}
]
"""

_CLIENTS: Final = """\
stream.properties = {
  channelmix.upmix = false
}
"""
"""Stereo stays stereo: made wider for the sink here, and narrower for a client, it would be heard twice."""


def start_pipewire(
    children: Children, runtime: Path, env: Mapping[str, str], *, sound: bool = True
) -> tuple[list[Child], str]:
    """Start the server in ``runtime`` (its XDG_RUNTIME_DIR) and return its processes and its address.

    Without ``sound`` it is for pictures alone, and the address is "". Raises CapabilityError where a program is missing
    and DesktopError where the server does not answer.
    """
    require_pipewire(sound=sound)
    for folder, text in (("pipewire.conf.d", _CONFIG), ("pipewire-pulse.conf.d", _CLIENTS)):
        config = runtime / "config" / "pipewire" / folder
        config.mkdir(parents=True)
        (config / "punktfunk.conf").write_text(text)
    own = {**env, "XDG_CONFIG_HOME": str(runtime / "config"), "XDG_STATE_HOME": str(runtime / "state")}
    address = runtime / "pulse" / "native"
    remote = runtime / "pipewire-0"
    with (runtime / "pipewire.log").open("wb") as log:

        def start(program: str) -> Child:
            return children.start(program, [program], own, output=log)

        started = [start(_SERVER)]
        await_socket(remote, children, started[-1])
        started.append(start(_MANAGER))
        _await_manager(remote, children, started[-1])
        if sound:
            started.append(start(_SOUND))
            await_socket(address, children, started[-1])
    return started, f"unix:{address}" if sound else ""


def require_pipewire(*, sound: bool = True) -> None:
    """Raise CapabilityError unless all of its programs are installed; without ``sound``, those for pictures."""
    missing = [
        program
        for program in (_SERVER, _MANAGER, *((_SOUND,) if sound else ()))
        if shutil.which(program) is None
    ]
    if missing:
        raise CapabilityError(
            f"{', '.join(missing)} not installed",
            "apt-get install pipewire wireplumber pipewire-pulse",
        )


def _await_manager(remote: Path, children: Children, child: Child) -> None:
    """Return once the session manager has given the sink its ports.

    On PipeWire 0.3.65 a recording that is linked before stays without a sound, and so do all after it: the sink is
    left suspended. A library that is too old to ask by leaves that to chance.
    """
    with suppress(CapabilityError), arrival(remote, PORT) as ports:
        await_sign(ports.is_set, children, child, remote.parent)
