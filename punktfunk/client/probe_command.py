"""What ``punktfunk probe`` prints: a line for each burst as it ends, then the verdict."""

from __future__ import annotations

from dataclasses import asdict

from punktfunk.client.config import ClientConfig
from punktfunk.client.dial import dialled
from punktfunk.client.path_figures import BurstFigures
from punktfunk.client.probe import PathProbe, PathReport
from punktfunk.client.verdict import rate
from punktfunk.terminal import say, say_json
from punktfunk.units import Bitrate

_HEAD = f"{'offered':>12}  {'arrived':>12}  {'loss':>7}  {'reordered':>9}  {'delay above least, p50 / p99 / max':>36}"


async def probe_path(config: ClientConfig, *, limit: Bitrate, fps: int, as_json: bool) -> int:
    """Probe the path to ``config.address`` and say what it is good for; 1 when the host sends no filler."""
    probe = PathProbe(await dialled(config), limit=limit, fps=fps)
    if not as_json:
        head = [_HEAD]

        def show(figures: BurstFigures) -> None:
            while head:
                say(head.pop())
            say(_burst_line(figures))

        probe.on_burst = show
    report = await probe.run()
    if as_json:
        say_json(asdict(report), indent=2)
    else:
        for line in lines(report):
            say(line)
    return int(report.verdict is None)


def lines(report: PathReport) -> list[str]:
    """Return the report in words."""
    said = []
    if report.rtt_ms is not None:
        said.append(f"round trip {report.rtt_ms:.2f} ms")
    if report.verdict is None:
        said.append(report.why)
        video = report.video
        said.append(
            f"of the host's own video: {video.get('packets_received', 0)} packets came, "
            f"{video.get('packets_lost', 0)} were lost, {video.get('packets_reordered', 0)} came out of order"
        )
        return said
    verdict = report.verdict
    if verdict.delay_p50_ms is not None and verdict.delay_p99_ms is not None:
        said[-1:] = [
            f"{said[-1] if said else 'round trip unknown'}, delay varies by {verdict.delay_p50_ms:.2f} ms (p50) "
            f"to {verdict.delay_p99_ms:.2f} ms (p99) below capacity"
        ]
    return [*verdict.sentences[:1], *said, *verdict.sentences[1:]]


def _burst_line(figures: BurstFigures) -> str:
    delay = "nothing came"
    if figures.delay_ms is not None:
        delay = " / ".join(f"{value:.2f}" for value in figures.delay_ms) + " ms"
    return (
        f"{rate(figures.offered_kbps):>12}  {rate(figures.delivered_kbps):>12}  {100 * figures.loss:>5.2f} %  "
        f"{figures.packets_reordered:>9}  {delay:>36}"
    )
