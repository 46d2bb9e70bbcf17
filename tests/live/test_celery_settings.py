"""What Celery is told, where its own settings would not do."""

from pathlib import Path

from tem_sim.live.celery_app import make_app
from tem_sim.live.config import LiveConfig, Ports
from tem_sim.live.node import WARM_WITHIN_S
from tem_sim.scenario.models import Scenario


def config_in(folder: Path) -> LiveConfig:
    scenario = Scenario.model_validate({"scenario": "settings", "arrivals": {"kind": "burst", "events": 1}})
    config = LiveConfig(
        name="tem-settings",
        folder=folder,
        scenario_dict=scenario.resolved(),
        luck_seed=1,
        store_url="sqlite://",
        redis_url="redis://127.0.0.1:1/0",
        secret="secret",
        ports=Ports(api=1, gateway=1, downstream=1),
    )
    config.save()
    return config


def test_a_process_of_a_pool_is_not_killed_while_it_connects(tmp_path: Path) -> None:
    # Celery's default is 4 s, less than Redis's client takes to give up on a Redis that is frozen.
    assert make_app(config_in(tmp_path)).conf.worker_proc_alive_timeout > 2 * WARM_WITHIN_S
