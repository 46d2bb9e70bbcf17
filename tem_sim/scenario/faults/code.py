"""What goes wrong with the code that a worker runs: an old version of it, or a seed that all its processes share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tem_sim.pipeline.settings import Isolation, WriteGuard
from tem_sim.scenario.base import Broken, broken_rules
from tem_sim.scenario.faults.base import Window
from tem_sim.scenario.policy import BackoffModel
from tem_sim.scenario.quantities import PositiveDuration, Switch

if TYPE_CHECKING:
    from tem_sim.pipeline.settings import Settings

WORKERS = "Whom it strikes: a worker, or `workers`."


class OldVersion(Window):
    """Some workers run an older version of the code, with other settings, as in the middle of a rolling deploy."""

    kind: Literal["old_version"] = "old_version"
    target: str = Field(description=WORKERS)
    backoff: BackoffModel | None = Field(None, description="The retry policy of the old version.")
    write_guard: WriteGuard | None = Field(None, description="What it checks before it writes.")
    isolation: Isolation | None = Field(None, description="Whether a failure was the event's own in it.")
    lease_s: PositiveDuration | None = Field(None, alias="lease", description="How long its claims hold.")
    outbox: Switch | None = Field(None, description="Whether it keeps notifications until they are acknowledged.")

    shade: ClassVar[str] = "moccasin"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    @model_validator(mode="after")
    def _differs(self) -> OldVersion:
        if not self._given():
            rule = "must differ in a setting: backoff, write_guard, isolation, lease or outbox"
            raise broken_rules("fault", [Broken((), rule, None)])
        return self

    def _given(self) -> dict[str, Any]:
        names = ("write_guard", "isolation", "lease_s", "outbox")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return given if self.backoff is None else {**given, "policy": self.backoff.policy()}

    def settings(self, present: Settings) -> Settings:
        """Return the settings of the old version, where it differs not the present ones."""
        return replace(present, **self._given())

    def describe(self) -> str:
        """Say the fault in one line."""
        names = ", ".join("backoff" if name == "policy" else name.removesuffix("_s") for name in self._given())
        return f"{self.target} runs an old version (other {names}) {self.when()}"


class ForkedSeed(Window):
    """The processes of a worker's pool were forked after their generator was seeded: all draw the same jitter."""

    kind: Literal["forked_seed"] = "forked_seed"
    target: str = Field(description=WORKERS)

    shade: ClassVar[str] = "khaki"
    strikes: ClassVar[tuple[str, ...]] = ("worker",)

    def describe(self) -> str:
        """Say the fault in one line."""
        return f"all pool processes of {self.target} draw the same jitter {self.when()}"
