"""The command line: reads options, calls the rooms that decide, and turns what they say into text and exit codes.

Nothing heavy is imported until a command needs it, so that `--help` answers at once. Results go to stdout, progress and
errors to stderr. Exit codes: 0 fine; 1 a check is false, or a violation that the scenario is meant to show is missing;
2 wrong usage, file or store; 3 the simulation itself broke; 4 inconclusive; 130 interrupted.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.pipeline.presets import Preset
    from tem_sim.report.document import Document
    from tem_sim.report.jobs import Job
    from tem_sim.report.outcome import Outcome
    from tem_sim.scenario.models import Scenario

OK, FALSE, USAGE, BROKE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130
# Of several runs, the code that matters most is the command's.
GRAVEST_FIRST = (INTERRUPTED, BROKE, USAGE, FALSE, INCONCLUSIVE, OK)

EXITS = (
    "Exit codes: 0 fine, 1 a check is false or an expected violation is missing, 2 wrong usage, file or store, "
    "3 the simulation broke, 4 inconclusive, 130 interrupted."
)

app = typer.Typer(
    name="tem-sim",
    help="Simulate and chaos-test an event pipeline's real retry code before you ship its retry policy.",
    epilog=EXITS,
    no_args_is_help=True,
    add_completion=False,
    # Plain text: errors can be read by programs, long options are not squeezed into boxes, and rich need not be loaded.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Scenario files.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a value of the scenario, such as pipeline.backoff.base=1s."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for every run of one command."""

    store: str
    json: bool
    plots: bool
    quiet: bool
    strict: bool
    traceback: bool


def main() -> None:
    """Run the command line and exit."""
    _mend_streams()
    try:
        app()
    except Exception as error:
        if os.environ.get("TEM_SIM_TRACEBACK"):
            raise
        _complain(f"tem-sim broke: {type(error).__name__}: {error}\nSet TEM_SIM_TRACEBACK=1 to see where.")
        sys.exit(BROKE)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of

        _write(f"tem-sim {version_of('tem-sim')}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    files: Files,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="The seed, instead of the scenario's.")] = None,
    settings: Settings = None,
    store: Annotated[
        str, typer.Option(metavar="URL", help="Where the pipeline keeps its rows: a SQLAlchemy URL.")
    ] = "sqlite://",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run's folder; of several files, the folder of their folders. An earlier run there is replaced. "
            "[default: reports/<scenario>/seed-<N>]",
        ),
    ] = None,
    as_json: AsJson = False,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw the plots into the run's folder.")] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the verdict and what is wrong; no progress bar.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 when any check cannot be judged, not only when none can.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="TEM_SIM_TRACEBACK", help="Show the traceback when a run breaks.")
    ] = False,
) -> None:
    """Run scenarios, say what became of them, save runs and plots."""
    from tem_sim.report.document import together

    with _usage_errors():
        options = Options(store, as_json, plots, quiet, strict, traceback)
        documents: list[Document] = []
        codes: list[int] = []
        try:
            for number, job in enumerate(_jobs(files, seed, settings or [], store, out)):
                if number and not as_json:
                    _write("\n")
                codes.append(_run(job, options, documents))
                if codes[-1] == INTERRUPTED:
                    break
        finally:
            # Also when a later file cannot be run: these runs are done, and saved.
            if documents:
                _write_json(documents[0] if len(files) == 1 else together(documents))
    raise typer.Exit(min(codes, key=GRAVEST_FIRST.index))


@app.command()
def validate(files: Files, settings: Settings = None) -> None:
    """List everything that is wrong with scenario files."""
    with _usage_errors():
        _report_all(_load_all(files, settings or [], say_ok=True)[1])


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `tem-sim run` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Print a saved run again.

    It is measured and checked anew. The exit code is 0 whatever the verdict.
    """
    with _usage_errors():
        from tem_sim.frames import Run
        from tem_sim.report.outcome import judge

        outcome = judge(Run.load(folder))
        if as_json:
            from tem_sim.report.document import document

            _write_json(document(outcome, folder))
        else:
            _print_outcome(outcome, quiet=False)
            _print_facts({"seed": str(outcome.run.seed), "store": outcome.run.store, "digest": outcome.run.digest})


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file instead of stdout.")] = None,
) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    with _usage_errors():
        text = _schema_text()
        if out is None:
            _write(text)
        else:
            out.write_text(text, encoding="utf-8")
            _write(f"wrote {out}\n")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("scenario.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented scenario to start from, and its schema."""
    with _usage_errors():
        from tem_sim.scenario.example import EXAMPLE

        if path.exists() and not force:
            _report_all([f"{path}: exists; give another path, or --force to overwrite it"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EXAMPLE, encoding="utf-8")
        schema_file = path.with_name("scenario.schema.json")
        schema_file.write_text(_schema_text(), encoding="utf-8")
        _write(f"wrote {path} and {schema_file}\ntry: tem-sim run {shlex.quote(str(path))}\n")


@app.command()
def policies(
    name: Annotated[str | None, typer.Argument(help="One policy; all of them if left out.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the retry policies of other systems.

    Each with its formula, its source, and min, mean and max of the delay in seconds before retries 1 to 10.
    """
    from tem_sim.report.policies import policy_blocks, policy_document
    from tem_sim.report.screen import show as show_on_screen

    presets = _presets(name)
    if as_json:
        _write_json(policy_document(presets))
    else:
        show_on_screen(policy_blocks(presets, notes=name is not None))


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the versions that a run's behaviour rests on."""
    from tem_sim.versions import versions

    if as_json:
        from tem_sim.report.document import SCHEMA_VERSION

        found = versions()
        _write_json({"schema_version": SCHEMA_VERSION, "version": found["tem_sim"], "versions": {**found}})
        return
    for name, number in versions().items():
        _write(f"{name} {number}\n")


# --- from files to jobs


def _jobs(files: Sequence[Path], seed: int | None, settings: Sequence[str], store: str, out: Path | None) -> list[Job]:
    """Return what is to be run; every mistake of every file is told before anything runs."""
    from tem_sim.report.jobs import plan, refuse_bad_folders

    scenarios, problems = _load_all(files, settings)
    _report_all(problems)
    jobs = plan(scenarios, seed=seed, settings=settings, store=store, out=out)
    refuse_bad_folders(jobs)
    return jobs


def _load_all(
    files: Sequence[Path], settings: Sequence[str], say_ok: bool = False
) -> tuple[list[tuple[Path, Scenario]], list[str]]:
    from tem_sim.report.jobs import unknown_checks
    from tem_sim.scenario.errors import ScenarioError
    from tem_sim.scenario.loader import load

    loaded: list[tuple[Path, Scenario]] = []
    problems: list[str] = []
    for file in files:
        try:
            scenario = load(file, settings)
        except ScenarioError as error:
            problems.append(str(error))
            continue
        strangers = unknown_checks(file, scenario)
        problems += strangers
        if not strangers:
            loaded.append((file, scenario))
            if say_ok:
                _write(f"{file}: ok ({scenario.name})\n")
    return loaded, problems


def _report_all(problems: Sequence[str]) -> None:
    if problems:
        _complain("\n".join(problems))
        raise typer.Exit(USAGE)


# --- one run


def _run(job: Job, options: Options, documents: list[Document]) -> int:
    """Do one run, save and print it, or add its document for later; return its exit code."""
    try:
        outcome = _outcome(job, options)
    except Exception as error:
        if _users_own(error):
            raise
        return _broke(job, options, error, documents)
    job.traceback_file.unlink(missing_ok=True)
    if not options.json:
        _print_outcome(outcome, options.quiet)
    drawn = _draw(outcome.run, job.folder, options.plots)
    if options.json:
        from tem_sim.report.document import document

        documents.append(document(outcome, job.folder))
    elif not options.quiet:
        plots = {"plots": f"{drawn[0].parent} ({len(drawn)} files)"} if drawn else {}
        _print_facts({"saved": str(job.folder), **plots, "digest": outcome.run.digest, "repeat": job.repeat})
    return outcome.exit_code


def _outcome(job: Job, options: Options) -> Outcome:
    """Simulate, save and judge; saved first, so that nothing that follows can lose the run."""
    from tem_sim.report.outcome import judge
    from tem_sim.report.progress import bar
    from tem_sim.sim.world import simulate

    shown = sys.stderr.isatty() and not options.quiet
    with bar(job.scenario.name, job.scenario.horizon_s, shown) as progress:
        made = simulate(job.scenario, job.seed, store=options.store, progress=progress)
    made.save(job.folder)
    return judge(made, strict=options.strict)


def _broke(job: Job, options: Options, error: Exception, documents: list[Document]) -> int:
    """Tell that a run broke, and where its traceback is kept."""
    import traceback

    job.traceback_file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    if options.traceback:
        traceback.print_exception(error)
    message = str(error) if type(error).__name__ == "SimulationError" else f"{type(error).__name__}: {error}"
    _complain(f"BROKEN {job.scenario.name}: {message}\ntraceback {job.traceback_file}\nrepeat    {job.repeat}")
    if options.json:
        from tem_sim.report.document import broken_document

        documents.append(broken_document(job.scenario.name, job.seed, message, job.traceback_file))
    return BROKE


def _draw(made: Run, folder: Path, wanted: bool) -> list[Path]:
    from tem_sim.report.pictures import clear, draw

    clear(folder)
    return draw(made, folder) if wanted else []


# --- text


def _print_outcome(outcome: Outcome, quiet: bool) -> None:
    from tem_sim.report.screen import show as show_on_screen
    from tem_sim.report.screen import speaks_unicode
    from tem_sim.report.summary import brief, summary

    show_on_screen((brief if quiet else summary)(outcome, unicode=speaks_unicode(sys.stdout)))


def _print_facts(facts: dict[str, str]) -> None:
    """Print what one copies from a terminal: never folded, since a folded command cannot be pasted."""
    _write("\n" + "".join(f"{name:<7} {fact}\n" for name, fact in facts.items()))


def _presets(name: str | None) -> list[Preset]:
    from tem_sim.pipeline.presets import PRESETS

    if name is None:
        return list(PRESETS.values())
    if name not in PRESETS:
        from tem_sim.scenario.errors import did_you_mean

        hint = did_you_mean(name, PRESETS) or "`tem-sim policies` lists them"
        _complain(f"policies: there is no policy {name}; {hint}")
        raise typer.Exit(USAGE)
    return [PRESETS[name]]


def _schema_text() -> str:
    import json

    from tem_sim.scenario.schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _write_json(document: Document) -> None:
    from tem_sim.report.document import text

    _write(text(document) + "\n")


def _write(text: str) -> None:
    from tem_sim.report.screen import write

    write(text)


def _complain(text: str) -> None:
    """Write an error to stderr, as it is: a caret must stay under its place."""
    typer.echo(text.rstrip("\n"), err=True)


def _mend_streams() -> None:
    """Let output that cannot be shown do no harm: a closed stream takes it silently, a narrow encoding shows `?`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  It lives as long as the process.
        elif not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn what the user can mend into a message and exit code 2, and Ctrl-C outside a run into 130."""
    try:
        yield
    except KeyboardInterrupt:
        _complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if not _users_own(error):
            raise
        _complain(_of_file(error) if isinstance(error, OSError) else str(error))
        raise typer.Exit(USAGE) from None


def _users_own(error: Exception) -> bool:
    """Whether the user can mend it. What breaks under simulation comes as a SimulationError, OSErrors included."""
    from tem_sim.frames import RunError
    from tem_sim.pipeline.store import StoreError

    return isinstance(error, (OSError, RunError, StoreError))


def _of_file(error: OSError) -> str:
    return str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
