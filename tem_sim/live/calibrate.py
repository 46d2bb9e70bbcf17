"""How long the infrastructure takes, measured on live runs without faults, as settings for the simulator.

Runs that calibrate are never those that are predicted: they have none of the scenario's faults, and a seed of their
own. What is a distribution in the scenario is written as `empirical`, the means of equal slices of what was measured.
No lognormal would do: a transaction is a quick look that finds nothing, or a claim or a settling that writes, or one
that waited for another's lock, so that its time has two humps and a tail that is neither's. The mean of each slice
keeps the mean, which is what queues depend on, and the weight of the tail. What is one number in the scenario is the
mean, but for the hop through the queue, which is the median under a light load: its mean has the waiting for a slot in
it that the simulator adds by itself.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.live.measured import THINGS, Sample, measured
from tem_sim.scenario.time_scale import scaled

if TYPE_CHECKING:
    from tem_sim.live.config import Pool
    from tem_sim.scenario.distributions import Distribution
    from tem_sim.scenario.models import Scenario

# Far from the seeds that anybody compares.
SEED_OFFSET = 10_000
SLICES, SERVICE_SLICES = 50, 200
# Points of a distribution's quantiles that one slice of it is the mean of.
POINTS = 20
# A burst is over within a moment: samples of fewer than this are put together with those under a light load.
ENOUGH = 100
# When a worker is killed to see how long it takes to start, under a load that is the same for every scenario.
STARTS_AT_S = (2.0, 10.0, 18.0)
LIGHT_LOAD = {"kind": "poisson", "rate": 5.0, "from": 0.5}
_DIGITS = 6
SCALE = "time scale"

# Called with (what is done, seconds so far, horizon in seconds).
Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True, repr=False)
class Calibration:
    """What was measured, and the settings that follow from it: a fragment of a scenario, by section.

    `about` are facts of how it was measured, such as versions. The service time in it is the scenario's own and what
    calls took over it, so that it holds for this scenario at the time scale that it was measured at.
    """

    scenario: str
    seed: int
    samples: dict[str, Sample]
    fragment: dict[str, Any]
    about: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, int, float, float, float, str]]:
        """Return what was measured: name, n, mean, median, 95th percentile (s), and what it is."""
        return [
            (name, one.n, one.mean_s, one.quantile_s(0.5), one.quantile_s(0.95), THINGS[name])
            for name, one in self.samples.items()
        ]

    def yaml(self) -> str:
        """Return the fragment as a file: `--calibration` lays it over a scenario, and a scenario may `extends` it."""
        from tem_sim.scenario.yaml_writer import yaml_text

        facts = [f"{name} {value}" for name, value in self.about.items()]
        head = [
            f"How long the infrastructure took, measured live on {self.scenario} without its faults, seed {self.seed}.",
            ", ".join(facts),
            "",
            f"{'':<12} {'n':>7} {'mean':>10} {'median':>10} {'p95':>10}",
            *(
                f"{name:<12} {n:>7} {_ms(mean)} {_ms(median)} {_ms(p95)}  {what}"
                for name, n, mean, median, p95, what in self.rows()
            ),
        ]
        return "".join(f"# {line}".rstrip() + "\n" for line in head) + yaml_text(self.fragment)

    def __repr__(self) -> str:
        lines = [f"calibration of {self.scenario}, seed {self.seed}"]
        lines += [
            f"{name:<12} n={n:<6} mean {_ms(mean)}  p95 {_ms(p95)}  {what}"
            for name, n, mean, _, p95, what in self.rows()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(what)}</td>"
            f"<td>{n:,}</td><td>{_ms(mean)}</td><td>{_ms(p95)}</td></tr>"
            for _, n, mean, _, p95, what in self.rows()
        )
        return f"<table><tr><th></th><th>n</th><th>mean</th><th>p95</th></tr>{rows}</table>"


def calibrate(
    scenario: Scenario,
    seed: int | None = None,
    *,
    time_scale: float = 1.0,
    store: str | None = None,
    redis: str = "own",
    pool: Pool = "prefork",
    starts: int = len(STARTS_AT_S),
    progress: Progress | None = None,
) -> Calibration:
    """Run a scenario live without its faults and return what the infrastructure took; see `run_live` for the options.

    `time_scale` is that at which the scenario is to be compared. `seed` is far from the scenario's own when left out. A
    second, short run under a light load starts a worker `starts` times, at most three; 0 for no such run, and the
    start-up is then left as the scenario has it. Raises as `run_live` does.
    """
    from tem_sim.live.run import run_live

    seed = scenario.seed + SEED_OFFSET if seed is None else seed
    options: dict[str, Any] = {"store": store, "redis": redis, "pool": pool}
    with tempfile.TemporaryDirectory(prefix="tem-sim-calibrate-") as folder:
        logs = Path(folder)
        calm = scaled(without_faults(scenario), time_scale)
        run = run_live(calm, seed, keep=logs / "calm", progress=_told(progress, "without faults"), **options)
        samples = measured(logs / "calm", run)
        if starts:
            struck = with_starts(calm, starts)
            again = run_live(struck, seed, keep=logs / "starts", progress=_told(progress, "worker starts"), **options)
            samples = _completed(samples, measured(logs / "starts", again))
    about = {SCALE: f"{time_scale:g}", "on": datetime.now(UTC).strftime("%Y-%m-%d"), "with": f"{run.store}, {pool}"}
    wanted = ("python", "celery", "redis", run.store)
    about |= {name: run.versions[name] for name in wanted if name in run.versions}
    return Calibration(scenario.name, seed, samples, fragment(calm, samples), about)


def _completed(samples: Mapping[str, Sample], light: Mapping[str, Sample]) -> dict[str, Sample]:
    """Return the samples with what only the run under a light load tells, and with all of it where they are few."""
    few = {name: one.plus(light[name]) for name, one in samples.items() if one.n < ENOUGH}
    return {**samples, **few, "startup": light["startup"], "hop": light["hop"]}


def time_scale_of(text: str) -> float | None:
    """Return the time scale that a fragment says it was measured at; None where it says nothing."""
    found = re.search(rf"^#.*\b{SCALE} ([0-9.e+-]+)", text, re.MULTILINE)
    return None if found is None else float(found[1])


def without_faults(scenario: Scenario) -> Scenario:
    """Return a scenario without its faults and all that speaks of them."""
    from tem_sim.scenario.models import Scenario

    left = {name: value for name, value in scenario.resolved().items() if name not in _OF_FAULTS}
    return Scenario.model_validate(left)


_OF_FAULTS = ("faults", "heal_at", "thresholds", "expect", "matrix", "seeds")


def with_starts(scenario: Scenario, starts: int) -> Scenario:
    """Return a scenario's system under a light load, with a worker that is killed and started again so often."""
    from tem_sim.scenario.models import Scenario

    if not 0 < starts <= len(STARTS_AT_S):
        raise ValueError(f"starts: must be from 0 to {len(STARTS_AT_S)}, got {starts}")
    horizon_s = STARTS_AT_S[starts - 1] + STARTS_AT_S[1]
    deaths = [
        {"kind": "worker_death", "target": "worker-1", "at": at_s, "restart_after": 0.1}
        for at_s in STARTS_AT_S[:starts]
    ]
    changed = {"arrivals": [LIGHT_LOAD], "faults": deaths, "horizon": horizon_s, "stop": "horizon"}
    return Scenario.model_validate({**without_faults(scenario).resolved(), **changed})


def _told(progress: Progress | None, what: str) -> Callable[[float, float], None] | None:
    return None if progress is None else lambda now_s, horizon_s: progress(what, now_s, horizon_s)


# --- from samples to settings


def like_live() -> dict[str, Any]:
    """Return what is so of any live system, by section: its Celery, and workers that are up when the load begins."""
    from importlib.metadata import version

    release = tuple(int(part) for part in version("celery").split(".")[:2])
    celery = "celery-5.7" if release >= (5, 7) else "celery-5.5"
    return {
        "broker": {"behaves_like": celery},
        "beat": {"through": "broker"},
        "workers": {"up_at_start": True},
    }


def fragment(scenario: Scenario, samples: Mapping[str, Sample]) -> dict[str, Any]:
    """Return the settings that samples speak of, by section; what was not seen is left out."""
    made: dict[str, dict[str, Any]] = {
        "api": {"latency": _mean(samples["request"])},
        "store": {"latency": _empirical(samples["transaction"])},
        "broker": _broker(samples),
        "users": {"latency": _empirical(samples["socket"]), "pubsub_latency": _mean(samples["pubsub"])},
        "workers": {"startup": _mean(samples["startup"])},
        "handler": _handler(scenario, samples["call_over"]),
    }
    for section, keys in like_live().items():
        made[section] = keys | made.get(section, {})
    return {section: known for section, keys in made.items() if (known := _known(keys))}


def _known(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _broker(samples: Mapping[str, Sample]) -> dict[str, Any]:
    send_s, hop_s = samples["send"].mean_s, samples["hop"].quantile_s(0.5)
    if math.isnan(send_s) or math.isnan(hop_s):
        return {}
    return {"latency": round(send_s + hop_s, _DIGITS), "latency_each": round(send_s, _DIGITS)}


def _handler(scenario: Scenario, over: Sample) -> dict[str, Any]:
    """Add what calls took over what was meant to the scenario's own times; code of the user's own keeps its own."""
    if scenario.handler.call is not None or not over.values_s:
        return {}
    over_s = over.mean_s
    kinds = {
        name: {"service_time": _later(kind.service_time, over_s)}
        for name, kind in scenario.handler.kinds.items()
        if kind.service_time is not None
    }
    return {
        "service_time": _later(scenario.handler.service_time, over_s),
        "fail_time": round(scenario.handler.fail_time_s + over_s, _DIGITS),
        "kinds": kinds or None,
    }


def _later(distribution: Distribution, by_s: float) -> dict[str, Any]:
    """Return a distribution, each of its durations longer by so much."""
    number = SERVICE_SLICES * POINTS
    points = [distribution.quantile((place + 0.5) / number) for place in range(number)]
    return _written(tuple(value + by_s for value in Sample.of(points).slices_s(SERVICE_SLICES)))


def _empirical(sample: Sample) -> dict[str, Any] | None:
    if not sample.values_s:
        return None
    return _written(sample.slices_s(min(SLICES, len(sample.values_s))))


def _written(values_s: tuple[float, ...]) -> dict[str, Any]:
    return {"kind": "empirical", "values": [round(value, _DIGITS) for value in values_s]}


def _mean(sample: Sample) -> float | None:
    return round(sample.mean_s, _DIGITS) if sample.values_s else None


def _ms(seconds: float) -> str:
    return f"{'–':>10}" if math.isnan(seconds) else f"{seconds * 1e3:>7.2f} ms"
