"""Draws the README's two pictures: the shipped storm with full jitter and with none, over the same axes.

Run it with `make gallery`. The same code and the same matplotlib draw the same bytes.
"""

from doc_pages import ROOT
from matplotlib.figure import Figure

from tem_sim import attempts_per_second, load, simulate
from tem_sim.plots.style import SIZE_INCHES

JITTERS = {"full": "full_jitter", "none": "no_jitter"}


def main() -> None:
    """Run the storm once per jitter and write the pictures."""
    runs = {
        jitter: simulate(load(ROOT / "scenarios/retry_storm.yaml", [f"pipeline.backoff.jitter={jitter}"]))
        for jitter in JITTERS
    }
    longest_s = max(run.end_s for run in runs.values())
    folder = ROOT / "reports/gallery"
    folder.mkdir(parents=True, exist_ok=True)
    for jitter, run in runs.items():
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        ax = attempts_per_second(run, figure.add_subplot())
        ax.set_title(f"{run.name}, jitter: {jitter}, seed {run.seed}\nattempts started per second", loc="left", size=10)
        ax.set_xlim(0.0, longest_s)
        figure.savefig(folder / f"{run.name}_{JITTERS[jitter]}.png", dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
