"""A sink of our own in the user's sound server: the default while a client listens, and the former one after it.

What programs play goes there in place of the user's speakers, and is recorded from its monitor: with eight channels,
and also where a machine has no sound card at all. The sink is an object of a client of PipeWire's, and the server takes
it away with that client, however that ends. Which sink was chosen before is put back by a shell that outlives this
process, for it waits for the end of a pipe; should that be killed as well, by the next host, from its note.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from punktfunk.desktop.audio import SoundPlace
from punktfunk.desktop.audio.holder import ShellHolder
from punktfunk.errors import CapabilityError, DesktopError

SINK: Final = "punktfunk-stream"
"""Name of the sink; what is played into it is recorded from its monitor."""
_LIMIT_S: Final = 16.0
"""For the sink to be there and the default one, which takes half a second, five more for a server that starts just
now, and for all to be as before."""
_KEY: Final = "default.configured.audio.sink"
_PROGRAMS: Final = {"pw-cli": "pipewire-bin", "pw-metadata": "pipewire-bin", "pactl": "pulseaudio-utils"}
_MAKE: Final = (
    "create-node adapter { factory.name=support.null-audio-sink media.class=Audio/Sink "
    f'node.name={SINK} node.description="punktfunk: heard by who streams" '
    "audio.position=[FL FR FC LFE RL RR SL SR] }"
)
_COMMON: Final = f"""\
key={_KEY}
configured() {{ timeout 5 pw-metadata 0 $key; }}
put_back() {{
    now=$(configured) || exit 1
    case "$now" in
    *'"{SINK}"'*)
        if [ -n "$1" ]; then timeout 5 pw-metadata 0 $key "$1" Spa:String:JSON; else timeout 5 pw-metadata -d 0 $key; fi
    esac
}}
"""
"""Whoever has chosen another sink meanwhile keeps it."""
_HOLD: Final = (
    _COMMON
    + f"""\
trap '' INT TERM HUP PIPE ABRT
exec 3<&0
wait_until() {{
    tries=$2
    until eval "$1"; do tries=$((tries - 1)); [ $tries -gt 0 ] || return 1; sleep 0.1; done
}}
wait_until 'before=$(configured)' 50 || exit 1
before=$(printf '%s' "$before" | sed -n "s/.*key:'$key' value:'\\(.*\\)' type:.*/\\1/p")
case "$before" in *'"{SINK}"'*) before= ;; esac
printf '%s\\n' "$before" > "$1" || exit 1
for tries_of_it in 15 15 50; do
    {{ printf '%s\\n' '{_MAKE}'; cat <&3; echo quit; }} | pw-cli > /dev/null 2>&1 &
    maker=$!
    wait_until 'pactl list short sinks | grep -q "	{SINK}	"' $tries_of_it && break
    kill $maker
    maker=
done
[ "$maker" ] || exit 1
choose() {{ timeout 5 pw-metadata 0 $key '{{"name":"{SINK}"}}' Spa:String:JSON > /dev/null; }}
wait_until choose 20 \
    && wait_until '[ "$(pactl get-default-sink)" = {SINK} ]' 50 && echo made && read -r _ <&3
put_back "$before" > /dev/null && rm -f "$1"
"""
)
"""A server that is restarted answers, ends and answers again: what is asked of it is asked until it is answered. pw-cli
is begun up to three times: beside a server that is just beginning, that of 0.3.65 gives its order before it is
connected, and nothing comes of it."""
_RESTORE: Final = _COMMON + 'put_back "$(cat "$1")" > /dev/null && rm -f "$1"\n'


class OwnSink:
    """The sink, from its making until it is closed; ``note`` is a file in a folder of the host's own.

    Raises CapabilityError where a program is missing, or the sound server is no PipeWire, and DesktopError where the
    sink does not come up.
    """

    place: Final = SoundPlace("", f"{SINK}.monitor")
    """Where to record."""

    def __init__(self, note: Path, env: Mapping[str, str] | None = None) -> None:
        for program, package in _PROGRAMS.items():
            if shutil.which(program) is None:
                raise CapabilityError(f"{program} is not installed", f"apt-get install {package}")
        restore_left(note, env)
        self._holder = ShellHolder(_HOLD, str(note), env=_environment(env), limit_s=_LIMIT_S)
        if not self._holder.has_begun():
            self.close()
            raise DesktopError(
                "the sound server makes no sink for what is streamed",
                "is it PipeWire, and does `pw-metadata` answer?",
            )

    def close(self) -> None:
        """Take the sink away, and let the former one be the default again. Closing twice is harmless."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_own_sink() -> None:
    """Raise DesktopError unless the sink is there: who asks PipeWire for a source that is not gets a microphone."""
    try:
        listed = subprocess.run(
            ["pactl", "list", "short", "sources"],
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise DesktopError("the sound server does not answer", "does `pactl info` answer?") from error
    if OwnSink.place.source.encode() not in listed:
        raise DesktopError("the sink for what is streamed has gone")


def restore_left(note: Path, env: Mapping[str, str] | None = None) -> None:
    """Put back what a host has left that was killed, and its holder with it: which sink was chosen before."""
    if note.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["sh", "-c", _RESTORE, "sh", str(note)],
                env=_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LIMIT_S,
                check=False,
            )


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(env or {}), "LC_ALL": "C"}
