"""Draws the README's pictures, and writes what each of them shows below it, with the numbers as they came out.

Run it with `make gallery`; it takes a minute or two. The same code and the same matplotlib draw the same bytes.
"""

from collections.abc import Callable
from typing import NamedTuple

from doc_pages import ROOT
from matplotlib.figure import Figure

from tem_sim import attempts_per_second, load, run_checks, simulate
from tem_sim.analysis.jitter import JitterStudy, jitter_study
from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.survival import Survival, outage_survival
from tem_sim.plots.attempts import attempt_spans
from tem_sim.plots.jitter import jitter_panels
from tem_sim.plots.metastability import collapse_map
from tem_sim.plots.style import SIZE_INCHES
from tem_sim.plots.survival import extinct_by_outage
from tem_sim.scenario.variants import scenario_with
from tem_sim.studies.metastability import metastability

FOLDER = ROOT / "reports/gallery"
PAGE = FOLDER / "README.md"
DPI = 105
JITTERS = {"full": "full_jitter", "none": "no_jitter"}
HEAD = "# Gallery\n\nDrawn by `make gallery`, which also writes this page.\n"


class Picture(NamedTuple):
    """A figure under the name of its file, and in one sentence what it shows."""

    name: str
    figure: Figure
    caption: str


def main() -> None:
    """Draw all pictures, and write their page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    parts = [HEAD]
    for draw in GALLERY:
        for name, figure, caption in draw():
            figure.savefig(FOLDER / f"{name}.png", dpi=DPI, metadata={"Software": None})
            parts.append(f"![{caption}]({name}.png)\n\n{caption}\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def storms() -> list[Picture]:
    """Draw the shipped storm with full jitter and with none, over the same axes."""
    file = ROOT / "scenarios/retry_storm.yaml"
    runs = {jitter: simulate(load(file, [f"pipeline.backoff.jitter={jitter}"])) for jitter in JITTERS}
    longest_s = max(run.end_s for run in runs.values())
    captions = {
        "full": "Attempts per second with full jitter: waves that fall and widen.",
        "none": "Attempts per second without jitter: five narrow walls with nothing between them.",
    }
    return [
        Picture(f"{run.name}_{JITTERS[jitter]}", _storm(run, jitter, longest_s), captions[jitter])
        for jitter, run in runs.items()
    ]


def _storm(run, jitter: str, longest_s: float) -> Figure:
    figure = _figure()
    ax = attempts_per_second(run, figure.add_subplot())
    ax.set_title(f"{run.name}, jitter: {jitter}, seed {run.seed}\nattempts started per second", loc="left", size=10)
    ax.set_xlim(0.0, longest_s)
    return figure


def six_jitters() -> list[Picture]:
    """Draw rows that fail together under each kind of jitter."""
    study = together()
    figure = _figure(10.0, 5.0)
    jitter_panels(study, figure)
    return [Picture("jitters", figure, jitters_caption(study))]


def together() -> JitterStudy:
    """Return the study behind the picture of the jitters."""
    return jitter_study(n=10_000)


def jitters_caption(study: JitterStudy) -> str:
    """Say how far the jitters are apart."""
    table = study.table.set_index(["means", "policy"])["peak_1s"]
    worst, full, best = (table["as configured", name] for name in ("none", "full", "decorrelated"))
    return (
        f"{study.n:,} rows that fail together come back: {worst:,.0f} of them in the same second without jitter, "
        f"{full:,.0f} at most with full jitter, {best:,.0f} with decorrelated jitter."
    )


def lost_in_outages() -> list[Picture]:
    """Draw who ends EXTINCT against the length of the outage."""
    study = outlived()
    figure = _figure()
    extinct_by_outage(study, figure.add_subplot())
    return [Picture("extinct_by_outage", figure, outlived_caption(study))]


def outlived() -> Survival:
    """Return the study behind the picture of the outages: one policy per kind of jitter, six retries each."""
    named = {name: policy for name, policy in jitters(2.0, max_retries=6).items() if name in ("none", "equal", "full")}
    return outage_survival(named, [5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600], tick="1s")


def outlived_caption(study: Survival) -> str:
    """Say what the same retries outlive under each jitter."""
    longest_s = study.horizons.set_index("policy")["survives_s"]
    return (
        "The share of events that an outage kills, against its length, on paper (lines) and drawn (dots): six retries "
        f"lose at most one in a thousand in an outage of {longest_s['full']:.0f} s under full jitter, of "
        f"{longest_s['equal']:.0f} s under equal jitter, and of {longest_s['none']:.0f} s without any."
    )


def collapses() -> list[Picture]:
    """Draw the map of the outages that leave a system down."""
    small = scenario_with(
        load(ROOT / "scenarios/metastable.yaml"),
        "handler.capacity={servers: 1, queue: 50, timeout: 1s}",
        "workers.concurrency=32",
        "beat.relay_every=5s",
        "faults[0].at=5s",
    )
    study = metastability(small, loads=(0.3, 0.4, 0.5, 0.6, 0.7), outages_s=(1.0, 2.0, 4.0, 8.0), persist_s=30.0)
    figure = _figure(7.6, 5.0)
    collapse_map(study.table, figure.add_subplot())
    caption = (
        "Outages that a system does not come back from, by their length and the load before: each cell says how many "
        "of ten runs stay down long after the outage is over, kept there by their own retries."
    )
    return [Picture("metastability", figure, caption)]


def overwritten() -> list[Picture]:
    """Draw a row that a worker writes to which no longer holds it."""
    run = simulate(
        load(
            ROOT / "scenarios/zombie_worker.yaml",
            [
                "arrivals={kind: poisson, rate: 10/s, from: 0s, until: 6s}",
                "pipeline={write_guard: refresh, lease: 5s, batch_size: 10, backoff: {base: 1s, jitter: full}}",
                "handler.failure_rate=0.4",
                "beat.rescue_every=1s",
                "faults[0]={kind: worker_pause, target: worker-1, edge: before_settle, nth: 6, for: 7s}",
            ],
        )
    )
    (lease,) = run_checks(run, ["single_lease"])
    figure = _figure(9.0, 3.6)
    attempt_spans(run, int(lease.rows["event_id"].iloc[0]), figure.add_subplot())
    caption = (
        "A worker freezes with an event in hand; its lease of 5 s runs out and another worker takes the event over; "
        "then the first wakes up and finishes a row that is no longer its own (crosses). A fencing token refuses that."
    )
    return [Picture("zombie_write", figure, caption)]


GALLERY: tuple[Callable[[], list[Picture]], ...] = (storms, six_jitters, lost_in_outages, collapses, overwritten)


def _figure(width: float = SIZE_INCHES[0], height: float = SIZE_INCHES[1]) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


if __name__ == "__main__":
    main()
