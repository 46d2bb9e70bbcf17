"""Arrival processes: their counts, their shape in time, and whose luck they use."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tem_sim.scenario.arrivals import Burst, ConstantRate, Phase, Phases, Poisson, Ramp, arrival_times
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import load
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.replay import Replay
from tem_sim.scenario.streams import Streams

PROCESSES = [
    Burst(at_s=3, events=50),
    ConstantRate(rate_per_s=7, from_s=1, until_s=20),
    Poisson(rate_per_s=50, from_s=1, until_s=20),
    Ramp(rate_per_s=5, to_rate_per_s=50, from_s=1, until_s=20),
    Ramp(rate_per_s=50, to_rate_per_s=0, from_s=1, until_s=20),
    Phases(
        from_s=1, phases=(Phase(for_s=5, rate_per_s=50), Phase(for_s=5, rate_per_s=0), Phase(for_s=5, rate_per_s=9))
    ),
    Replay(times_s=(3.0, 1.0, 2.0, 2.0)),
]


def times(*processes: object, horizon_s: float = 60.0, seed: int = 1) -> np.ndarray:
    """Return the arrivals of a scenario with these processes."""
    scenario = Scenario(name="t", arrivals=list(processes), horizon_s=horizon_s)
    return arrival_times(scenario, Streams(seed))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.kind)
def test_arrivals_ascend_in_whole_microseconds_before_the_horizon(process: object) -> None:
    arrivals = times(process, horizon_s=15.0)
    assert len(arrivals) > 0
    assert np.all(np.diff(arrivals) >= 0)
    assert np.array_equal(arrivals, np.round(arrivals, 6))
    assert arrivals[0] >= 0
    assert arrivals[-1] < 15.0


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.kind)
def test_as_many_arrive_as_expected(process: object) -> None:
    counts = [len(times(process, seed=seed)) for seed in range(30)]
    expected = process.expected(60.0)  # type: ignore[attr-defined]
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(expected / 30) + 1e-9)


def test_a_constant_rate_starts_at_from_and_stops_before_until() -> None:
    assert times(ConstantRate(rate_per_s=10, from_s=1.0, until_s=1.3)).tolist() == [1.0, 1.1, 1.2]


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(times(Poisson(rate_per_s=100), horizon_s=100.0))
    assert stats.kstest(gaps, "expon", args=(0, 0.01)).pvalue > 0.001


@pytest.mark.parametrize(("rate", "to_rate"), [(5, 50), (50, 5), (0, 40), (40, 0), (20, 20)])
def test_a_ramp_has_the_density_of_a_straight_line(rate: float, to_rate: float) -> None:
    ramp = Ramp(rate_per_s=rate * 10, to_rate_per_s=to_rate * 10, until_s=20)
    arrivals = times(ramp)
    slope = (to_rate - rate) / 20

    def share(t: np.ndarray) -> np.ndarray:
        return (rate * t + slope * t * t / 2) / (rate * 20 + slope * 200)

    assert stats.kstest(arrivals, share).pvalue > 0.001


def test_phases_are_busy_and_silent_in_turn() -> None:
    phases = Phases(phases=tuple(Phase(for_s=10, rate_per_s=rate) for rate in (10, 0, 100, 0)))
    counts = np.histogram(times(phases), bins=[0, 10, 20, 30, 40])[0]
    assert counts[0] == pytest.approx(100, abs=40)
    assert counts[2] == pytest.approx(1000, abs=130)
    assert counts[1] == counts[3] == 0


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short, long = (times(Poisson(rate_per_s=20), horizon_s=horizon_s) for horizon_s in (30.0, 60.0))
    assert long[: len(short)].tolist() == short.tolist()


def test_twice_the_rate_is_the_same_luck_in_half_the_time() -> None:
    slow, fast = (times(Poisson(rate_per_s=rate), horizon_s=60.0) for rate in (10, 20))
    assert fast[: len(slow)] * 2 == pytest.approx(slow, abs=2e-6)


def test_one_process_does_not_move_the_next_ones_luck() -> None:
    steady = Poisson(rate_per_s=5)
    alone = times(Burst(events=1), steady)
    beside = times(Ramp(rate_per_s=1, to_rate_per_s=9), steady)
    assert set(alone[1:].tolist()) <= set(beside.tolist())


def test_another_seed_is_another_run() -> None:
    assert times(Poisson(rate_per_s=5), seed=1).tolist() != times(Poisson(rate_per_s=5), seed=2).tolist()


# --- replay


def replayed(tmp_path: Path, csv: str, more: str = "") -> Scenario:
    (tmp_path / "arrivals.csv").write_text(csv)
    (tmp_path / "replay.yaml").write_text(
        f"scenario: replay\narrivals: {{kind: replay, file: arrivals.csv{more}}}\nhorizon: 1h\n"
    )
    return load(tmp_path / "replay.yaml")


def test_a_csv_of_seconds_is_replayed_in_order(tmp_path: Path) -> None:
    scenario = replayed(tmp_path, "id,t_s\na,3.5\nb,1\n\nc,2\n")
    assert arrival_times(scenario, Streams(1)).tolist() == [1.0, 2.0, 3.5]


def test_timestamps_count_from_the_earliest(tmp_path: Path) -> None:
    csv = "when\n2024-05-01T12:00:10Z\n2024-05-01T12:00:00Z\n2024-05-01T14:00:01.5+02:00\n"
    scenario = replayed(tmp_path, csv, ", column: when, from: 5s")
    assert arrival_times(scenario, Streams(1)).tolist() == [5.0, 6.5, 15.0]


def test_a_saved_replay_needs_its_file_no_more(tmp_path: Path) -> None:
    scenario = replayed(tmp_path, "t_s\n1\n2\n")
    (tmp_path / "arrivals.csv").unlink()
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_each_bad_row_is_reported_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        replayed(tmp_path, "id,t_s\na,1\nb,soon\nc,-2\nd\n")
    places = [(Path(p.file).name, p.line, p.col, p.value) for p in caught.value.problems]
    assert places == [("arrivals.csv", 3, 3, "soon"), ("arrivals.csv", 4, 3, "-2"), ("arrivals.csv", 5, 1, "")]


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("time\n1\n", "it has time"),
        ("t_s\n", "has no rows"),
        ("", "it has none"),
        ("t_s\nnan\n", "must be seconds"),
        ("t_s\n7200\n", "before the horizon"),
    ],
)
def test_a_csv_that_cannot_be_replayed_is_refused(tmp_path: Path, csv: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        replayed(tmp_path, csv)


def test_a_missing_csv_is_reported_at_its_name(tmp_path: Path) -> None:
    (tmp_path / "replay.yaml").write_text("scenario: r\narrivals: {kind: replay, file: none.csv}\n")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "replay.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.col, problem.path) == (2, 32, "arrivals.file")
    assert "there is no file" in problem.message


def test_a_csv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "arrivals.csv").write_bytes(b"t_s\n\xff\xfe\n")
    (tmp_path / "replay.yaml").write_text("scenario: r\narrivals: {kind: replay, file: arrivals.csv}\n")
    with pytest.raises(ScenarioError, match="not UTF-8"):
        load(tmp_path / "replay.yaml")
