"""The command that lists the encoders of this machine, and tests them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from punktfunk.cli_run import fail
from punktfunk.errors import CapabilityError, CheckFailedError, MediaError, PunktfunkError, UsageError
from punktfunk.process import loading
from punktfunk.process.program import config_error
from punktfunk.terminal import say_json

if TYPE_CHECKING:
    from punktfunk.media import EncoderCheck
    from punktfunk.media.encoders.self_test import SelfTest

_TABLE_WIDTH = 160


def encoders(
    test: Annotated[
        bool, typer.Option("--test", help="Encode with each, decode, compare and time; 1 when one fails.")
    ] = False,
    mode: Annotated[str, typer.Option(help="Mode to test in.")] = "1280x720@60",
    bitrate: Annotated[str, typer.Option(help="Bitrate to test at.")] = "10 Mbit/s",
    frames: Annotated[int, typer.Option(min=8, max=100_000, help="Pictures to test with.")] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the encoders of this machine in the order in which they are taken, and why not those that are missing.

    With --test each that is there encodes the test card, a key frame and a lower bit rate on request among it; what
    comes out is decoded and compared with what went in.
    """
    from punktfunk.media import HARDWARE, EncoderConfig, all_encoders, marker_layout
    from punktfunk.media.encoders.self_test import run_isolated, run_self_test

    try:
        asked = EncoderConfig.model_validate({"mode": mode, "bitrate": bitrate})
    except ValidationError as error:
        fail(config_error(error, "command line"))
    except PunktfunkError as error:
        fail(error)
    try:
        marker_layout.layout(asked.mode.width, asked.mode.height)
    except MediaError as error:
        fail(UsageError(error.cause, "test in a larger mode"))
    loading.ready()
    checks = all_encoders()
    tested = {
        check.name: (run_isolated if check.name in HARDWARE else run_self_test)(
            asked.model_copy(update={"encoder": check.name}), check.codec, frames
        )
        for check in checks
        if test and check.available
    }
    if as_json:
        say_json([_row(check, tested.get(check.name)) for check in checks], indent=2)
    else:
        _show(checks, tested, test=test)
    if not any(check.available for check in checks):
        fail(CapabilityError("no encoder works here", "pip install --force-reinstall av"))
    failed = [f"{name}: {result.failure}" for name, result in tested.items() if result.failure]
    if failed:
        cause = f"an encoder does not do what it says: {'; '.join(failed)}"
        fail(CheckFailedError(cause, "serve with another --encoder"))


def _row(check: EncoderCheck, result: SelfTest | None) -> dict[str, Any]:
    return {**asdict(check), "test": None if result is None else asdict(result)}


def _show(checks: tuple[EncoderCheck, ...], tested: dict[Any, SelfTest], *, test: bool) -> None:
    from rich.table import Table

    from punktfunk.rich_terminal import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _TABLE_WIDTH)
    table = Table(box=None, pad_edge=False)
    for column in ("codec", "encoder", ""):
        table.add_column(column)
    measured = ("PSNR mean", "least", "ms a picture", "most", "Mbit/s") if test else ()
    for column in measured:
        table.add_column(column, justify="right")
    table.add_column("what was found" if test else "why not", overflow="fold")
    for check in checks:
        result = tested.get(check.name)
        fine = check.available and (result is None or not result.failure)
        figures = [""] * len(measured) if result is None or not result.frames else _figures(result)
        found = check.reason if result is None else result.failure or "as it should"
        mark = "[green]yes[/]" if fine else "[red]no[/]"
        table.add_row(check.codec, check.name, mark, *figures, found.replace("[", r"\["))
    console.print(table)
    for hint in dict.fromkeys(check.hint for check in checks if check.hint):
        console.print(f"→ {hint}", markup=False, soft_wrap=True)


def _figures(result: SelfTest) -> list[str]:
    return [
        f"{result.psnr_db:.1f} dB",
        f"{result.least_psnr_db:.1f} dB",
        f"{result.encode_ms:.1f}",
        f"{result.longest_ms:.1f}",
        f"{result.megabits_per_second:.1f}",
    ]
