"""The campaign as a command: `python -m tests.mutants.run`; see docs/mutants.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import page
from .arena import Job, load, run_jobs
from .campaign import Outcome
from .known.all import ALL
from .mutant import Mutant
from .patches import PatchError, from_diff
from .score import Control, Row, Score, line, problems
from .trials import TIERS

# What the control goes through: the campaign, and what depends on luck once more under other seeds.
CONTROL = ((0, ()), (1, ("calm", "settings", "random")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print it, and return 0 where all is as it should be."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.write and (asked.no_control or asked.only or asked.patch or asked.first):
        parser.error(
            "--write takes the whole campaign, control included; leave out --no-control, --only, --patch, --first"
        )
    try:
        mutants = _chosen(asked)
    except PatchError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    load()
    options = {"tiers": asked.tier, "control": not asked.no_control, "first": asked.first}
    score = campaign(mutants, asked.jobs, tell=lambda row: _say(line(row)), **options)
    if asked.write:
        page.write(score, asked.tier)
    _say("\n".join(["", *problems(score), score.times(), score.last_line()]))
    return 0 if score.good else 1


def campaign(
    mutants: Sequence[Mutant],
    processes: int = 2,
    *,
    tiers: Sequence[str] = (),
    control: bool = True,
    first: bool = False,
    tell: Callable[[Row], None] = lambda _: None,
) -> Score:
    """Run the control first, then all mutants, and return the score; `tell` hears of each mutant that is over."""
    began = time.perf_counter()
    controls = [Job(None, tiers or asked, block) for block, asked in CONTROL] if control else []
    found: dict[str, Outcome] = {}
    seen = Control()

    def done(job: Job, outcome: Outcome) -> None:
        if job.mutant is None:
            seen.add(outcome)
        else:
            found[job.name] = outcome
            tell(Row(job.mutant, outcome))

    run_jobs([*controls, *(Job(mutant, tiers, first=first) for mutant in mutants)], processes, done)
    rows = [Row(mutant, found[mutant.name]) for mutant in mutants]
    return Score(rows, seen, time.perf_counter() - began)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="run this mutant; may be repeated")
    parser.add_argument(
        "--patch",
        action="append",
        default=[],
        metavar="FILE",
        help="run a unified diff on tem_sim/pipeline as a mutant",
    )
    parser.add_argument(
        "--check", action="append", default=[], metavar="NAME", help="with --patch: the checks that must see it"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at a time (2)")
    parser.add_argument("--tier", action="append", default=[], choices=TIERS, help="run these tiers only")
    parser.add_argument("--first", action="store_true", help="end each campaign at its first alarm, named or not")
    parser.add_argument("--write", action="store_true", help="renew docs/mutants.md by what is measured")
    parser.add_argument("--no-control", action="store_true", help="leave the control out")
    return parser


def _chosen(asked: argparse.Namespace) -> list[Mutant]:
    if strangers := [name for name in asked.only if name not in ALL]:
        raise PatchError(f"no such mutant: {strangers[0]}; there are {', '.join(ALL)}")
    from_files = [_from_file(Path(name), tuple(asked.check)) for name in asked.patch]
    if asked.only or from_files:
        return [*(ALL[name] for name in asked.only), *from_files]
    return list(ALL.values())


def _from_file(path: Path, named: tuple[str, ...]) -> Mutant:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PatchError(f"{path}: {error.strerror}") from None
    try:
        return Mutant(name=path.stem, did=f"as {path} says", patches=from_diff(text), named=named)
    except PatchError as error:
        raise PatchError(f"{path}: {error}") from None


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
