"""The ``interop`` command: hosts × clients × tests, and a page whose cells lead to logs, capture and report."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from punktfunk.errors import UsageError

DEFAULT_FILES = (Path("scenarios/interop.yaml"), Path("scenarios/interop-gamestream.yaml"))
DEFAULT_OUT = Path("reports")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(interop)


def interop(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Scenarios with the axes host and client, a layer a test. "
            "Default: scenarios/interop.yaml and scenarios/interop-gamestream.yaml.",
            show_default=False,
        ),
    ] = None,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER", help="ours, the name of a description in peers/, or a .yaml file."),
    ] = None,
    client: Annotated[list[str] | None, typer.Option(metavar="PEER", help="Likewise.")] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only these tests (layers); default: all.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the names of the cases and stop.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the scenarios' seed.")] = None,
    out: Annotated[Path, typer.Option(help="Folder below which the run's own is made.")] = DEFAULT_OUT,
    plain: Annotated[bool, typer.Option(help="Plain lines, also on a terminal.")] = False,
) -> None:
    """Run every host against every client that speaks its wire, test by test, and write the matrix."""
    from harness.run import interop as matrix
    from harness.run import launch

    chosen = tuple(files or DEFAULT_FILES)
    missing = [file for file in chosen if not file.is_file()]
    if missing:
        raise UsageError(
            f"there is no file {missing[0]}", "run this at the top of a clone, or name scenarios"
        )
    asked = matrix.plan(chosen, hosts=tuple(host or ()), clients=tuple(client or ()), tests=tuple(test or ()))
    request = launch.Request(
        files=tuple(asked),
        axes={str(file): axes for file, (axes, _) in asked.items() if axes},
        case_ids=tuple(case for _, cases in asked.values() for case in cases),
        seed=seed,
        out=out,
        plain=plain or os.environ.get("CI", "").lower() in {"1", "true"},
        charts=False,
        show="list" if list_ else "run",
        command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]),
    )
    raise typer.Exit(launch.run(request))
