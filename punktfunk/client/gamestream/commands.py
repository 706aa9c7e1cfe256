"""What the command that receives a GameStream stream prints: a line a second, and the end in a sentence."""

from __future__ import annotations

from punktfunk.client.commands import prepare_output
from punktfunk.client.ending import Counts
from punktfunk.client.gamestream.config import GameStreamConfig
from punktfunk.client.gamestream.json_lines import run_client
from punktfunk.client.gamestream.service import GameStreamClient
from punktfunk.client.json_lines import exit_status
from punktfunk.client.messages import Progress
from punktfunk.client.summary import Summary
from punktfunk.client.until_end import until_end
from punktfunk.terminal import say

_WIND_DOWN_S = 2.5


async def receive(config: GameStreamConfig, *, overwrite: bool, as_json: bool) -> int:
    """Receive a stream until it ends or somebody says so; the exit status of ``exit_status``.

    Raises ``UsageError`` for an ``out`` that is there already, ``ResultsError`` for one that cannot be written.
    """
    if config.out is not None:
        prepare_output(config.out, overwrite=overwrite)
    if as_json:
        return await run_client(config)
    client = GameStreamClient(config)
    client.on_progress = lambda progress: say(_second_line(progress))
    async with client:
        assert client.choice is not None
        assert client.info is not None
        how = "resumed" if client.resumed else "launched"
        say(f"{how} at {client.info.name}: {client.choice.codec} {config.mode}")
        await until_end(client, _WIND_DOWN_S)
    summary = await client.finished()
    say(_summary_line(summary))
    if summary.hint:
        say(f"  → {summary.hint}")
    return exit_status(summary)


def _second_line(progress: Progress) -> str:
    counters = progress.counters
    counts = Counts.of(counters, loss_known=progress.frames > 0)
    return (
        f"{progress.frames:4d} fps  {progress.bytes * 8 / 1e6:7.2f} Mbit/s  {counts.loss_words()}, "
        f"shards recovered {counters.get('data_shards_recovered', 0)}, "
        f"sound packets {counters.get('sound_packets', 0)}"
    )


def _summary_line(summary: Summary) -> str:
    counters = summary.counters
    received, decoded = (counters.get(name, "unknown") for name in ("frames_released", "pictures"))
    return (
        f"received {received} frames, decoded {decoded}, {summary.counts.loss_words()}, "
        f"IDR frames asked for {counters.get('recovery_requests', 0)}, "
        f"sound packets {counters.get('sound_packets', 0)} · {summary.reason}"
    )
