"""In the virtual machine, as the user: plug a pad in as a host does, and read it as a game does."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import evdev

from punktfunk.desktop.pads import PadState
from punktfunk.desktop.pads.uinput import UinputPad
from punktfunk.input import PadButtons

LIMIT_S = 30.0


def main() -> None:
    """Print what was read; leave with a complaint where nothing can be."""
    pad = UinputPad(0, lambda *_: None)
    deadline = time.monotonic() + LIMIT_S
    while not (nodes := [path for path in _nodes() if os.access(path, os.R_OK)]):
        if time.monotonic() > deadline:
            sys.exit(
                f"no node that {os.getuid()} may read: {[(str(path), path.group()) for path in _nodes()]}"
            )
        time.sleep(0.1)
    device = evdev.InputDevice(str(nodes[0]))
    pad.report(PadState(buttons=PadButtons.A))
    for event in device.read_loop():
        if event.type == evdev.ecodes.EV_KEY:
            names = evdev.ecodes.BTN[event.code]
            code = names if isinstance(names, str) else names[-1]
            break
    keyboards = [
        path for path in Path("/dev/input").glob("event*") if path not in nodes and os.access(path, os.R_OK)
    ]
    print(
        f"read {code} from {nodes[0]} (group {nodes[0].group()}), and {len(keyboards)} other devices can be read"
    )


def _nodes() -> list[Path]:
    """Return the event devices of our pad."""
    names = Path("/sys/class/input").glob("event*/device/name")
    found = [path.parent.parent.name for path in names if path.read_text().strip() == "punktfunk pad 1"]
    return [node for name in found if (node := Path("/dev/input") / name).exists()]


if __name__ == "__main__":
    main()
