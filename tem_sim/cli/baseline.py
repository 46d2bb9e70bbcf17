"""`tem-sim baseline save` and `tem-sim check`: what scenarios came to, and whether they still do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import (
    BROKE,
    USAGE,
    AsJson,
    Files,
    Jobs,
    Settings,
    annotate,
    complain,
    load_all,
    refuse_all,
    usage_errors,
    write,
    write_json,
)

if TYPE_CHECKING:
    from tem_sim.baseline.check import Checked
    from tem_sim.baseline.file import Baseline
    from tem_sim.baseline.seen import Case
    from tem_sim.scenario.models import Scenario
    from tem_sim.scenario.places import Places

BASELINES = Path("baselines")

baseline = typer.Typer(
    name="baseline",
    help="Record what scenarios come to, for `tem-sim check`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MinEffects = Annotated[
    list[str] | None,
    typer.Option(
        "--min-effect",
        metavar="[METRIC=]SIZE",
        help="The effect from which on it matters, such as 5%, drain_s=10s or storm_factor=20%; METRIC=off guards it "
        "no more.",
    ),
]


@baseline.callback()
def _group() -> None:
    """Keep `save` a command of its own, though it is the only one."""


@baseline.command()
def save(
    files: Files,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.json",
            help="The baseline. An earlier one there is replaced; its guards are kept. "
            "[default: baselines/<scenario>.json, each in its own]",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The seeds 1 to N. [default: the scenario's, or 10]")
    ] = None,
    settings: Settings = None,
    min_effects: MinEffects = None,
    jobs: Jobs = None,
) -> None:
    """Run scenarios under their seeds and record what they come to."""
    from tem_sim.baseline.file import save_baseline
    from tem_sim.baseline.seen import seeds_of

    with usage_errors(), _told():
        scenarios = _loaded(files, settings or [])
        _refuse_twins([scenario for _, scenario in scenarios])
        cases = _run([(scenario, seeds_of(scenario, seeds)) for _, scenario in scenarios], jobs)
        _refuse_broken(cases)
        for path, part in _by_file(cases, out):
            saved = save_baseline(part, path, min_effects=min_effects or [])
            for case in part:
                write(_said(saved, case, path))


def check(
    files: Files,
    known: Annotated[
        Path,
        typer.Option("--baseline", metavar="FILE.json", help="The baseline, or a folder of some."),
    ] = BASELINES,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the baseline's first N seeds; all if left out.")
    ] = None,
    settings: Settings = None,
    min_effects: MinEffects = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 when of any metric nothing can be told.")
    ] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown on stdout, such as for a pull request.")
    ] = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE.xml", help="Write JUnit XML there, for a CI server.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdicts only; no progress bar.")] = False,
) -> None:
    """Hold scenarios against their baseline: the same, no worse, or a regression; thresholds and checks, too.

    Exit codes: 1 for a regression, a broken threshold or a false check; 3 when a run broke; 4 when what has to be told
    cannot be told, or there is no baseline.
    """
    from tem_sim.baseline.check import check_baseline
    from tem_sim.baseline.file import load_baseline

    refuse_all(["check: --json and --markdown are both for stdout; choose one"] if as_json and as_markdown else [])
    with usage_errors(), _told():
        scenarios = _loaded(files, settings or [])
        before = load_baseline(known)
        _refuse_twins([scenario for _, scenario in scenarios])
        cases = _run([(one, _seeds_for(before, one, seeds)) for _, one in scenarios], jobs, quiet)
        found = check_baseline(cases, before, min_effects=min_effects or [], strict=strict)
        places = _places(scenarios, settings or [])
        _print(found, as_json, as_markdown, quiet)
        if junit_file is not None:
            from tem_sim.baseline.junit import junit

            options = _options(known, settings or [], min_effects or [], seeds, strict)
            repeat = {one.name: shlex.join(["tem-sim", "check", str(file), *options]) for file, one in scenarios}
            junit_file.parent.mkdir(parents=True, exist_ok=True)
            junit_file.write_text(junit(found, places, repeat), encoding="utf-8")
        _tell_github(found, places)
    raise typer.Exit(found.exit_code)


# --- what both do


def _loaded(files: Sequence[Path], settings: Sequence[str]) -> list[tuple[Path, Scenario]]:
    loaded, problems = load_all(files, settings)
    refuse_all(problems)
    return loaded


def _run(scenarios: list[tuple[Scenario, tuple[int, ...]]], jobs: int | None, quiet: bool = False) -> list[Case]:
    from tem_sim.baseline.seen import run_cases
    from tem_sim.report.progress import steps

    with steps("runs", sys.stderr.isatty() and not quiet) as tell:
        return run_cases(scenarios, jobs=jobs, progress=tell)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the user can mend of a baseline, and exit with 2."""
    from tem_sim.baseline.file import BaselineError
    from tem_sim.baseline.guards import GuardError

    try:
        yield
    except (BaselineError, GuardError) as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None


# --- saving


def _refuse_broken(cases: Sequence[Case]) -> None:
    broken = [f"BROKEN {case.scenario.name}, seed {run.seed}: {run.error}" for case in cases for run in case.broken]
    if broken:
        complain("\n".join([*broken, "Nothing is saved: what breaks is no baseline."]))
        raise typer.Exit(BROKE)


def _by_file(cases: list[Case], out: Path | None) -> list[tuple[Path, list[Case]]]:
    """Return what goes into which file: all into the one that is asked for, else each scenario into its own."""
    from tem_sim.report.jobs import run_folder

    if out is not None:
        return [(out, cases)]
    return [(run_folder(one.scenario.name, 0, BASELINES, True).parent.with_suffix(".json"), [one]) for one in cases]


def _refuse_twins(scenarios: Sequence[Scenario]) -> None:
    names = [scenario.name for scenario in scenarios]
    twins = sorted({name for name in names if names.count(name) > 1})
    refuse_all([f"{name}: two scenarios have this name; give one of them another" for name in twins])


def _said(saved: Baseline, case: Case, path: Path) -> str:
    guards = saved.scenarios[case.scenario.name].guards
    noisy = [name for name, guard in guards.items() if not guard.must_settle]
    watched = f"; watched, as they vary too much for so few seeds: {', '.join(noisy)}" if noisy else ""
    seeds = f"{len(case.seeds)} seed{'' if len(case.seeds) == 1 else 's'}"
    return f"{path}: {case.scenario.name}, {seeds}; guarded: {len(guards) - len(noisy)} metrics{watched}\n"


# --- checking


def _seeds_for(before: Baseline, scenario: Scenario, seeds: int | None) -> tuple[int, ...]:
    """Return the baseline's seeds, or the first of them; one that is not known has its own."""
    from tem_sim.baseline.seen import seeds_of

    known = before.scenarios.get(scenario.name)
    if known is None:
        return seeds_of(scenario, seeds)
    if seeds is not None and seeds > len(known.seeds):
        refuse_all(
            [
                f"--seeds {seeds}: the baseline of {scenario.name} has {len(known.seeds)}; "
                f"save it with --seeds {seeds}, under the code that it is to hold"
            ]
        )
    return known.seeds[:seeds]


def _options(
    known: Path, settings: Sequence[str], min_effects: Sequence[str], seeds: int | None, strict: bool
) -> list[str]:
    """Return the options that make the same check again."""
    words = ["--baseline", str(known)]
    for setting in settings:
        words += ["--set", setting]
    for size in min_effects:
        words += ["--min-effect", size]
    return [*words, *(["--seeds", str(seeds)] if seeds else []), *(["--strict"] if strict else [])]


def _places(scenarios: Sequence[tuple[Path, Scenario]], settings: Sequence[str]) -> dict[str, Places]:
    from tem_sim.scenario.loader import places_in

    return {scenario.name: places_in(file, settings) for file, scenario in scenarios}


def _print(found: Checked, as_json: bool, as_markdown: bool, quiet: bool) -> None:
    if as_json:
        from tem_sim.baseline.document import document

        write_json(document(found))
    elif as_markdown:
        from tem_sim.baseline.markdown import markdown

        write(markdown(found))
    else:
        from tem_sim.baseline.screen import blocks
        from tem_sim.report.screen import show

        show(blocks(found, quiet))


def _tell_github(found: Checked, places: dict[str, Places]) -> None:
    """In a step of a workflow, annotate the scenarios that are not fine and put the account on the run's page."""
    from tem_sim.baseline.markdown import markdown
    from tem_sim.baseline.words import notices
    from tem_sim.report import github

    if github.active():
        annotate(notices(found, places))
        github.append_summary(markdown(found))
