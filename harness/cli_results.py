"""Commands on runs that have ended: compare, baselines, reports, the data set and the history of figures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from harness.analysis import runs
from harness.analysis.results import RunResult
from punktfunk.errors import RegressionError, ResultsError
from punktfunk.terminal import say

DEFAULT_OUT = Path("reports")
DATA_SET = DEFAULT_OUT / "history"
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a run, its name in reports/, or its run.json.")
]
Out = Annotated[Path, typer.Option(help="Folder that holds the runs.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    app.command()(compare)
    app.command()(baseline)
    app.command()(report)
    app.command()(calibrate)
    app.command()(wires)
    app.command()(archive)
    app.command()(history)
    app.command()(export)
    app.command("import")(import_)


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="The run before: a folder, a name in reports/, a run.json.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The run now.")],
    *,
    out: Out = DEFAULT_OUT,
) -> None:
    """Show what moved between two runs, with intervals, and whether to believe it. Exit 3 for a regression."""
    from harness.analysis import compare as comparing

    before, now = _load(a, out), _load(b, out)
    if before[0].table is not None or now[0].table is not None:
        from harness.analysis import compare_tables
        from harness.report import tables_text

        cells = compare_tables.compare(before, now)
        for line in tables_text.lines(cells):
            say(line)
        raise typer.Exit(cells.exit_code)
    found = comparing.compare(before, now)
    say(comparing.text(found).rstrip("\n"))
    raise typer.Exit(found.exit_code)


def baseline(
    run: Run,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Hold the run against its baseline instead of keeping it.")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the baselines.")] = Path("reports/baselines"),
    out: Out = DEFAULT_OUT,
) -> None:
    """Keep a run that passed as its scenario's baseline, or hold it against that. Exit 3 for a regression."""
    from harness.analysis import baseline as keeping

    instead = f"hold it against another run of the scenario: python -m harness compare EARLIER {run}"
    result, _ = _load_cases(run, out, instead)
    path = keeping.path_of(result.scenario, folder)
    if not check:
        earlier = keeping.load(path) if path.exists() else None
        kept = keeping.snapshot(result, earlier)
        keeping.save(kept, path)
        machines = ", ".join(kept.wall_clock) or "none"
        say(f"{path}: {len(kept.cases)} simulated cases gated exactly, wall-clock figures of: {machines}")
        return
    kept = keeping.load(path)
    moves = keeping.compare(result, kept)
    for move in moves:
        say(move)
    common = sum(case.id in kept.cases for case in result.cases)
    say(
        f"{len(moves)} figures moved in {common} cases against {path}"
        if common
        else f"no case in common with {path}"
    )
    if moves:
        say(f"  → if this is meant: python -m harness baseline {run}")
    worse = any(move.verdict == "regression" for move in moves)
    raise typer.Exit(RegressionError.exit_code if worse else 0)


def report(run: Run, *, out: Out = DEFAULT_OUT) -> None:
    """Write the reports of a run, or the page of a comparison of two builds, again as this version makes them."""
    from harness import report as reporting
    from harness.analysis import paired_run

    place = runs.find(run, out)
    if paired_run.is_one(place):
        from harness.report import builds

        say(f"html: {builds.write(place)}")
        return
    result, folder = runs.load(place)
    for kind, path in reporting.write(result, folder).items():
        say(f"{kind}: {path}")


def wires(
    run: Run,
    *,
    figures: Annotated[
        Path | None, typer.Option(help="Write the charts of the comparison there, as SVG files.")
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Print the points that a run streamed over several wires, side by side, as Markdown; draw them with --figures."""
    from harness.report import drawing, wire_charts
    from harness.report import wires as comparing
    from harness.run.whole_files import write_atomically

    result, _ = _load_cases(run, out, "look at the points that matter in a run of their own")
    found = comparing.comparisons(result)
    if not found:
        raise ResultsError(
            f"run {result.run_id} streamed no point over several wires",
            "run a scenario with an axis of protocols: python -m harness run scenarios/two-wires.yaml",
        )
    for comparison in found:
        say(comparing.markdown(comparison))
        if figures is not None:
            for name, chart in wire_charts.named(comparison).items():
                figures.mkdir(parents=True, exist_ok=True)
                path = figures / f"{result.scenario}-{comparison.layer}-{name}.svg"
                write_atomically(path, drawing.standalone(chart))
                say(f"written: {path}", err=True)


def calibrate(
    run: Run,
    *,
    case: Annotated[str, typer.Option(help="A case of the run; default: its longest over a real link.")] = "",
    effect: Annotated[
        float, typer.Option(min=0.001, help="Change to plant, as a ratio: 0.05 is 5 %.")
    ] = 0.05,
    out: Out = DEFAULT_OUT,
) -> None:
    """Show what the latency gate makes of this machine's noise: false alarms, and the changes it would see."""
    from harness.analysis import calibrate as calibrating
    from harness.analysis import records

    result, folder = _load_cases(run, out, "it wants frame records, which a live run has")
    asked = [c for c in result.cases if (c.id == case if case else c.backend != "sim")]
    tables = [(records.read(file)[0], c.id) for c in asked if (file := runs.frames_file(folder, c))]
    if not tables:
        raise ResultsError(
            f"run {result.run_id} kept no frame records of {case or 'a case over a real link'}"
        )
    table, name = max(tables, key=lambda item: item[0]["index"].size)
    say(name)
    say(calibrating.text(calibrating.calibrate(table, effect=effect), effect).rstrip("\n"))


def archive(
    runs_: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or their names in reports/.")
    ],
    *,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the data set.")] = DATA_SET,
    frames: Annotated[bool, typer.Option("--frames", help="Keep the frame records, too.")] = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Add runs to the data set (Parquet), from which 'history' is drawn and which harness.load opens."""
    from harness.analysis import dataset

    for name in runs_:
        result, folder = _load(name, out)
        count = dataset.archive(result, folder, to, frames=frames)
        say(f"{to}: {count} cases of {result.run_id}")


def history(
    where: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHERE]...",
            help="Data sets, runs or folders of runs; default: reports/history, else reports.",
        ),
    ] = None,
    *,
    scenario: Annotated[str, typer.Option(metavar="PATTERN", help="Scenarios to look at.")] = "*",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Figures to look at: 'encode_*'. May be repeated."),
    ] = None,
    page: Annotated[Path, typer.Option(metavar="FILE", help="Write the page there.")] = Path(
        "reports/history.html"
    ),
    repository: Annotated[Path, typer.Option(help="Clone that knows the order of the commits.")] = Path(),
    out: Out = DEFAULT_OUT,
) -> None:
    """Draw each figure over commits, with the changes that chance does not explain, as one HTML page."""
    from harness import load
    from harness.analysis import history as following
    from harness.report import history as drawing
    from harness.run.whole_files import write_atomically

    default = DATA_SET if DATA_SET.is_dir() else out
    results = load(*(where or [str(default)]), out=out)
    found = following.history(results, scenario=scenario, metrics=metric or ("*",), repository=repository)
    text = drawing.render(found, asked=[each.key.metric for each in found.series] if metric else ())
    with contextlib.suppress(OSError):  # writing says why there is no such folder
        page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, text)
    say(drawing.summary(found))
    for line in drawing.lines(found):
        say(line)
    say(f"page: {page}")


def export(
    run: Run,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: the run's name and .punktfunk.zip.")
    ] = None,
    *,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write a run as one file to be sent to somebody: results and frame records, no logs and captures."""
    from harness.analysis import exchange

    result, folder = _load(run, out)
    target = file or Path(folder.name + exchange.SUFFIX)
    count = exchange.export(result, folder, target)
    rows = f"a table of {result.table.asked} cases, " if result.table is not None else ""
    say(f"{target}: {rows}{len(result.cases)} cases, frame records of {count}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'export' wrote.")],
    *,
    out: Out = DEFAULT_OUT,
) -> None:
    """Make the folder of a run from an exported file, which may come from anybody."""
    from harness.analysis import exchange

    say(f"imported: {exchange.unpack(file, out)}")


def _load(name: str, out: Path) -> tuple[RunResult, Path]:
    return runs.load(runs.find(name, out))


def _load_cases(name: str, out: Path, instead: str) -> tuple[RunResult, Path]:
    """Read a run that has each of its cases; raise ResultsError with what to do ``instead`` where it has a table."""
    result, folder = _load(name, out)
    if result.table is not None:
        from harness.run.many import EACH_UP_TO

        instead += f"; a run of up to {EACH_UP_TO} cases has them one by one: choose with -k or --axis"
    return runs.with_cases(result, instead), folder
