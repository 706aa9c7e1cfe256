"""The interface of gamescope's own that is used here, as it stands on the wire (gamescope_pipewire version 1)."""

from __future__ import annotations

from typing import Final

from punktfunk.desktop.wayland.declare import Declaration, build

PIPEWIRE: Final = "gamescope_pipewire"

INTERFACES: Final = build(
    (Declaration(PIPEWIRE, version=1, requests=("destructor destroy()",), events=("stream_node(uint)",)),),
    {},
)
