"""The user's own speakers, silenced while a stream takes their sound along.

PipeWire records what a muted sink would play; PulseAudio mixes the mute into some sinks' monitors, so that nothing is
muted there. A shell holds the mute and takes it back as soon as this process closes its end of a pipe or dies, however
that is, a moment before it is told that they are muted included: nobody is to find a machine that has gone dumb.
"""

from __future__ import annotations

import os
import subprocess
from typing import Final, Self

from punktfunk.desktop.audio.holder import ShellHolder
from punktfunk.errors import CapabilityError, DesktopError

_LIMIT_S: Final = 5.0
"""For the sound server's answer, which takes some 30 ms."""
_MUTE_LIMIT_S: Final = 5.0
"""For the holder to say that they are muted, and to end: whoever waits has a desktop's other work to do."""
_HOLD: Final = """\
trap '' INT TERM HUP PIPE ABRT
pactl set-sink-mute "$1" 1 && echo muted && read -r _
pactl set-sink-mute "$1" 0
"""


class MutedSpeakers:
    """Mutes the default sink of ``server``, the user's own where empty, until it is closed.

    A sink that the user has muted stays so. Raises ``CapabilityError`` where muting would silence the recording too, or
    ``pactl`` is not installed, and ``DesktopError`` where the sound server does not answer.
    """

    def __init__(self, server: str = "") -> None:
        self._env = {**os.environ, "LC_ALL": "C", **({"PULSE_SERVER": server} if server else {})}
        self._holder: ShellHolder | None = None
        if "on PipeWire" not in self._ask("info"):
            raise CapabilityError(
                "the sound server is no PipeWire, and may record silence of muted speakers",
                "mute them by hand",
            )
        sink = self._ask("get-default-sink").strip()
        if self._ask("get-sink-mute", sink).strip() == "Mute: no":
            self._hold(sink)

    def close(self) -> None:
        """Let them play again. Closing twice is harmless."""
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self, sink: str) -> None:
        self._holder = ShellHolder(_HOLD, sink, env=self._env, limit_s=_MUTE_LIMIT_S)
        if not self._holder.has_begun():
            self.close()
            raise DesktopError(f"the sound server does not mute {sink}", "mute it by hand")

    def _ask(self, *order: str) -> str:
        try:
            done = subprocess.run(
                ["pactl", *order],
                env=self._env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=True,
            )
        except FileNotFoundError:
            raise CapabilityError("pactl is not installed", "apt-get install pulseaudio-utils") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise DesktopError("the sound server does not answer", "does `pactl info` answer?") from error
        return done.stdout
