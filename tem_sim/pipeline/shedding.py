"""Load shedding: new submissions are refused while too many events wait, so that those taken in can still be served.

A refusal is an answer: HTTP's 503 with Retry-After. What is refused was never accepted; nothing accepted is dropped.
"""

from dataclasses import dataclass

from tem_sim.pipeline.bounds import count, seconds


class Overloaded(Exception):
    """The pipeline takes nothing in at present; the client may try again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many events are waiting; try again after {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """Refuse while more than `above` events are QUEUED, PROCESSING or FAILED.

    A soft bound: a request is taken in whole or not at all, and several at the same time may each find the last room.
    """

    above: int = 5000
    retry_after_s: float = 5.0

    def __post_init__(self) -> None:
        count("shedding.above", self.above, least=0)
        seconds("shedding.retry_after_s", self.retry_after_s)
