"""Outputs in a sway that runs: the user's own session, or the headless one of a session supervisor."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Final, Self

from punktfunk.desktop.vdisplay import VirtualOutput, output_hz
from punktfunk.desktop.vdisplay.holder import OutputHolder
from punktfunk.desktop.vdisplay.sway_ipc import RefusedError, SwayIpc
from punktfunk.errors import CapabilityError, DesktopError
from punktfunk.units import Mode

_UNPLUG_SINCE: Final = (1, 8)
_HEADLESS: Final = "HEADLESS-"


class SwayDisplay:
    """Makes headless outputs by ``create_output``.

    A sway before 1.8 cannot take an output away again. There, ``create`` refuses, unless
    ``outputs_outlive_us`` says that the compositor itself ends with the session.
    """

    def __init__(self, ipc_path: str, socket: str, *, outputs_outlive_us: bool = False) -> None:
        self._ipc = SwayIpc(ipc_path)
        self._socket = socket
        self._keep = outputs_outlive_us
        self._holder = OutputHolder(ipc_path)
        self._steady = self.can_remove
        self._made: list[VirtualOutput] = []
        self._closed = False

    @property
    def socket(self) -> str:
        """Path of the compositor's Wayland socket."""
        return self._socket

    @property
    def outputs(self) -> tuple[VirtualOutput, ...]:
        """Those that were made here and not taken away, the oldest first."""
        return tuple(self._made)

    @property
    def can_remove(self) -> bool:
        """Whether this sway can take an output away again (1.8 and newer)."""
        return self._ipc.version() >= _UNPLUG_SINCE

    def create(self, mode: Mode, *, scale: float = 1.0) -> VirtualOutput:
        """Add an output of that mode and scale; see :class:`punktfunk.desktop.vdisplay.VirtualDisplay`."""
        if not self._keep and not self.can_remove:
            raise CapabilityError(
                "this sway cannot remove an output once it is made (older than 1.8)",
                "stream one of its outputs, or let punktfunk start a headless sway of its own",
            )
        before = self._ipc.outputs().keys()
        self._hold(before)
        self._ipc.command("create_output")
        created = self._ipc.outputs().keys() - before
        if len(created) > 1:
            # A monitor may have been plugged in meanwhile.
            created = {name for name in created if name.startswith(_HEADLESS)}
        if len(created) != 1:
            raise DesktopError(f"sway made {len(created)} outputs where one was asked for")
        output = VirtualOutput(created.pop(), mode)
        self._made.append(output)
        try:
            self._hold()
            # What is not asked for is as its user has configured it.
            return self.change(output, mode, scale=None if scale == 1 else scale)
        except DesktopError:
            if not self._keep:
                with contextlib.suppress(DesktopError):  # what went wrong before is the reason
                    self.remove(output)
            raise

    def change(self, output: VirtualOutput, mode: Mode, *, scale: float | None = None) -> VirtualOutput:
        """Give an output another mode, at a rate of :func:`output_hz`, and another scale if one is given."""
        if scale is not None:
            self._ipc.command(f"output {output.name} scale {scale:g}")
        size = f"{mode.width}x{mode.height}"
        self._ipc.command(
            f"output {output.name} mode --custom {size}@{output_hz(mode, steady=self._steady):g}Hz"
        )
        current = self._ipc.outputs().get(output.name, {}).get("current_mode", {})
        if (current.get("width"), current.get("height")) != (mode.width, mode.height):
            raise DesktopError(f"sway did not give {output.name} the mode {mode}")
        changed = VirtualOutput(output.name, mode)
        self._made = [changed if each.name == output.name else each for each in self._made]
        return changed

    def focus(self, name: str) -> None:
        """Have keys go to what an output shows; raise DesktopError where there is no such output."""
        self._ipc.command(f"focus output {name}")

    def remove(self, output: VirtualOutput) -> None:
        """Take an output that was made here away; raise DesktopError where sway refuses, or does not answer.

        It is then tried again with :meth:`close`, or by the holder.
        """
        self._unplug(output)
        self._hold()

    def close(self) -> None:
        """Take away the outputs that were made here, except where they end with the compositor."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._keep:
                for output in self.outputs:
                    self._unplug(output)
        finally:
            self._ipc.close()
            if not self._keep:
                self._hold()
                self._holder.close()

    def _unplug(self, output: VirtualOutput) -> None:
        try:
            self._ipc.command(f"output {output.name} unplug")
        except RefusedError:
            if output.name in self._ipc.outputs():
                raise
            # Somebody at the desktop has done it already.
        self._made = [each for each in self._made if each.name != output.name]

    def _hold(self, before: Collection[str] | None = None) -> None:
        """Have outputs taken away should this process be killed, where they do not end with the compositor."""
        if not self._keep and (self._made or before is not None or self._holder.holds):
            self._holder.tell([output.name for output in self._made], before)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
