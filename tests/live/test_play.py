"""When a live run is over."""

import asyncio
from typing import Any

from tem_sim.live.play import Play
from tem_sim.scenario.models import Scenario


class Part:
    """A part of a run that is what it is made to be."""

    def __init__(self, **about: Any) -> None:
        self.__dict__.update(about)


def play(load: Part) -> Play:
    made = Play.__new__(Play)
    made._scenario = Scenario.model_validate({"scenario": "over", "arrivals": {"kind": "burst", "events": 1}})
    made.__dict__.update(_load=load, _faults=Part(quiet=True))
    return made


def is_over(run: Play, look: Any) -> bool:
    return asyncio.run(run._is_over(look))


def test_a_run_is_over_once_all_is_sent_and_nothing_is_left_to_do() -> None:
    assert is_over(play(Part(idle=True)), Part(is_drained=lambda: True))
    assert not is_over(play(Part(idle=True)), Part(is_drained=lambda: False))
    assert not is_over(play(Part(idle=False)), Part(is_drained=lambda: True))


def test_a_run_is_not_over_when_a_crowd_comes_while_it_is_looked_at() -> None:
    load = Part(idle=True)

    def is_drained() -> bool:
        # As a fault's thread does.
        load.idle = False
        return True

    assert not is_over(play(load), Part(is_drained=is_drained))
