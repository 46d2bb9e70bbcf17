"""What a live run's logs tell of how long things take."""

import json
from pathlib import Path
from typing import Any

from tem_sim.frames import Run
from tem_sim.live.measured import measured
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate


def calm() -> Run:
    return simulate(Scenario.model_validate({"scenario": "calm", "arrivals": {"kind": "burst", "events": 1}}), 1)


def written(folder: Path, node: str, *lines: dict[str, Any]) -> None:
    text = "".join(json.dumps({"t": 1.0, "node": node, "pid": 1, **line}) + "\n" for line in lines)
    (folder / f"{node}.jsonl").write_text(text, encoding="utf-8")


def test_requests_that_never_reached_the_store_tell_nothing_of_the_time_before_it(tmp_path: Path) -> None:
    waits_s = [0.002, None, 0.004]
    written(tmp_path, "api", *({"event": "request", "before_store_s": one} for one in waits_s))
    found = measured(tmp_path, calm())["request"]
    assert (found.n, found.mean_s) == (2, 0.003)
