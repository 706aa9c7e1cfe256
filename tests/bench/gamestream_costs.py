"""CPU of what a GameStream host does beside pictures: requests by HTTP and HTTPS, and sound of each layout.

* **requests**: a served host in a process of its own answers ``/serverinfo``, one connection a request as clients have
  it; CPU of the whole process a request. By HTTPS each has its handshake, whose floor is one RSA signature of the
  host's key, measured in the same run.
* **sound**: coding what a layout has in 5 ms, in percent of a core while it is played. Sessions of one format share one
  coder, so that any number of them costs what one does, and the sum of all formats is the most there is without layouts
  of clients' own. The rival is libopus' own multistream encoder by FFmpeg, which has one layout a number of channels.

Prints figures, judges nothing; the least of repeats is what a quiet machine would show.

    python tests/bench/gamestream_costs.py [--requests 400] [--seconds 4] [--repeats 3]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import av
import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from gamestream_floods import Host, serving

from punktfunk.gamestream.pairing import signing_key
from punktfunk.gamestream.surround import LAYOUTS
from punktfunk.media.multistream import MultistreamEncoder
from punktfunk.media.sound import SoundFormat
from punktfunk.trust.identity import Identity, Role

_RATE, _PACKET_MS = 48_000, 5
_SAMPLES = _RATE * _PACKET_MS // 1000
_FFMPEG = {2: "stereo", 6: "5.1", 8: "7.1"}


async def _cpu_us(host: Host, count: int, ask: Callable[[], Awaitable[object]]) -> float:
    before = host.cpu_s
    for _ in range(count):
        await ask()
    return (host.cpu_s - before) / count * 1e6


async def _requests(host: Host, count: int, repeats: int) -> None:
    for name, ask in (("http", host.client.info), ("https", host.client.info_as_paired)):
        await ask()
        figures = [await _cpu_us(host, count, ask) for _ in range(repeats)]
        print(f"request by {name:<6} {min(figures):8.0f} us of CPU at the host  ({max(figures):.0f} at most)")


def _signature_us(repeats: int) -> float:
    key = signing_key(Identity.generate(Role.HOST))
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        for _ in range(100):
            key.sign(bytes(32), padding.PKCS1v15(), hashes.SHA256())
        best = min(best, (time.process_time_ns() - began) / 100 / 1e3)
    return best


def _music(channels: int, seconds: float) -> np.ndarray:
    """Chords and noise: as dear to code as music, other than tones or silence."""
    times = np.arange(int(seconds * _RATE)) / _RATE
    noise = np.random.default_rng(1).normal(0, 0.05, (len(times), channels))
    chords = [
        sum(np.sin(2 * np.pi * f * (1 + c / 7) * times) for f in (220, 277, 330)) / 6 for c in range(channels)
    ]
    return (np.stack(chords, axis=1) + noise).astype(np.float32)


def _percent(code: Callable[[np.ndarray], object], samples: np.ndarray, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time_ns()
        for at in range(0, len(samples) - _SAMPLES + 1, _SAMPLES):
            code(samples[at : at + _SAMPLES])
        best = min(best, (time.process_time_ns() - began) / 1e9)
    return 100 * best * _RATE / len(samples)


def _ffmpeg(channels: int, kbps: int) -> Callable[[np.ndarray], object]:
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.layout, context.format = _RATE, _FFMPEG[channels], "flt"
    context.bit_rate = kbps * 1000
    context.options = {"application": "lowdelay", "frame_duration": "5", "vbr": "off"}
    state = {"pts": 0}

    def code(samples: np.ndarray) -> object:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=_FFMPEG[channels])
        frame.sample_rate, frame.pts = _RATE, state["pts"]
        state["pts"] += _SAMPLES
        return context.encode(frame)

    return code


def _sound(seconds: float, repeats: int) -> None:
    print("\nsound, 5 ms packets           streams   ours   libopus alone   (% of a core)")
    each = []
    for (channels, high), layout in LAYOUTS.items():
        params = layout.params
        sound = SoundFormat(
            channels,
            params.streams,
            params.coupled,
            "".join(map(str, params.mapping)),
            layout.bitrate.kbps,
            5,
            continuous=True,
        )
        samples = _music(channels, seconds)
        ours = _percent(MultistreamEncoder(sound).encode, samples, repeats)
        rival = _percent(_ffmpeg(channels, layout.bitrate.kbps), samples, repeats)
        name = f"{_FFMPEG[channels]}{' high' if high else ''}, {layout.bitrate.kbps} kbit/s"
        print(f"{name:<28} {params.streams:8} {ours:7.2f} {rival:12.2f}")
        each.append(ours)
    print(
        f"sessions of all {len(each)} formats at once: {sum(each):.1f}; any number of one format: that format's once"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=4.0, help="of sound")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as host:
        asyncio.run(_requests(host, given.requests, given.repeats))
    print(f"one RSA signature {_signature_us(given.repeats):8.0f} us")
    _sound(given.seconds, given.repeats)


if __name__ == "__main__":
    main()
