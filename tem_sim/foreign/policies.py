"""Retry policies that are the user's own code: a function of the retry number, a factory, a policy, a library's object.

Each becomes a policy that answers for its delays: one uniform goes in, and what comes out is a finite number of
seconds, or an error that names the user's file and line.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from tem_sim.foreign.chance import Dice, global_chance
from tem_sim.foreign.imports import ForeignError, place, place_of
from tem_sim.pipeline.backoff import MAX_DELAY_S, Chance, Drawn, Moments, Policy
from tem_sim.pipeline.bounds import limits, retry_number
from tem_sim.pipeline.objects import NotMappedError, policy_of_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# How many points of the uniform a mean is taken over.
POINTS = 2048
DEFAULT_RETRIES = 5
# A policy is tried with so many draws before each of so many retries when it is loaded.
TRIED_DRAWS, TRIED_RETRIES = 8, 12

# What stands for a limit that is not given, where None means no limit.
UNSET: Any = object()


class PolicyError(Exception):
    """A policy of the user's that raised, or whose delay is no number of seconds."""


@dataclass(frozen=True, slots=True)
class OwnPolicy(Drawn):
    """A policy whose delay is what a function says, called with the retry number, and chance and the last delay if it
    takes them.

    Nothing is known of its distribution: its support is everything, its mean is taken over a grid of uniforms.
    """

    function: Callable[..., object]
    takes: int = 2
    max_retries: int | None = DEFAULT_RETRIES
    budget_s: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        limits(self.name or "policy", self.max_retries, self.budget_s)

    @property
    def needs_previous(self) -> bool:
        return self.takes > 2

    @property
    def formula(self) -> str:
        return f"{self.name}({', '.join(('k', 'rng', 'previous')[: self.takes])})"

    def spread(self, retry: int, previous_s: float | None = None) -> Called:
        """Return the distribution, of which only draws are known."""
        return Called(self, retry_number(retry), previous_s)

    def delays(
        self,
        retry: int,
        rng: np.random.Generator,
        size: int,
        previous_s: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Draw `size` delays, shape (size,), each from a uniform; previous_s may be one for all or one per event."""
        import numpy as np

        uniforms = rng.random((size, 1))[:, 0]
        before = np.full(size, np.nan) if previous_s is None else np.broadcast_to(np.asarray(previous_s), size)
        pairs = zip(uniforms.tolist(), before.tolist(), strict=True)
        return np.array([self.seconds(retry, u, None if math.isnan(b) else b) for u, b in pairs], dtype=np.float64)

    def mean_s(self, retry: int) -> float:
        """Return the mean over a grid of uniforms; of a policy that needs the delay before, over as many chains."""
        middles = [(point + 0.5) / POINTS for point in range(POINTS)]
        if not self.needs_previous:
            return math.fsum(self.seconds(retry, u) for u in middles) / POINTS
        return math.fsum(self.chain(Dice(u), retry)[-1] for u in middles) / POINTS

    def seconds(self, retry: int, uniform: float, previous_s: float | None = None) -> float:
        """Return what the function says for one uniform; PolicyError when that is no delay."""
        given = (retry, Dice(uniform), previous_s)[: self.takes]
        with global_chance(uniform):
            try:
                said = self.function(*given)
            except Exception as error:
                told = f"raised {type(error).__name__}: {error}"
                raise PolicyError(f"{place_of(error)}: {self.name} {told}, before retry {retry}") from error
        return _delay_s(said, self.name, self.function, retry)


@dataclass(frozen=True, slots=True)
class Called:
    """One delay of a policy that is a function: drawn, and otherwise unknown."""

    policy: OwnPolicy
    retry: int
    previous_s: float | None

    def at(self, uniforms: Sequence[float]) -> float:
        return self.policy.seconds(self.retry, uniforms[0], self.previous_s)

    def at_many(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        return np.array([self.at(row) for row in uniforms.tolist()], dtype=np.float64)

    def moments(self) -> Moments:
        return Moments(0.0, None, MAX_DELAY_S, None)


class GuardedPolicy:
    """A policy value of the user's: all of it as it is, but that its delays are looked at."""

    def __init__(self, policy: Policy, name: str) -> None:
        self._policy = policy
        self._name = name

    def delay(self, retry: int, rng: Chance, previous_s: float | None = None) -> float:
        """Draw the seconds to wait; PolicyError when the policy raises, or says no delay."""
        try:
            said = self._policy.delay(retry, rng, previous_s)
        except Exception as error:
            told = f"raised {type(error).__name__}: {error}"
            raise PolicyError(f"{place_of(error)}: {self._name} {told}, before retry {retry}") from error
        return _delay_s(said, self._name, type(self._policy).delay, retry)

    def __getattr__(self, name: str) -> Any:
        # An unpickled one has no policy yet when it is asked for its dunder methods.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._policy, name)


def _delay_s(said: object, name: str, function: object, retry: int) -> float:
    number = math.nan
    if not isinstance(said, (str, bytes, bool)):
        try:
            number = float(said)  # type: ignore[arg-type]  # Whatever counts as a number, numpy's own included.
        except (TypeError, ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number) or number < 0:
        rule = "a delay must be a finite number of seconds >= 0"
        raise PolicyError(f"{place(function)}: {name} returned {said!r} before retry {retry}; {rule}")
    return min(number, MAX_DELAY_S)


# --- from whatever an import path leads to, to a policy


def policy_from(
    thing: object,
    name: str,
    *,
    args: Mapping[str, object] | None = None,
    max_retries: int | None = UNSET,
    budget_s: float | None = UNSET,
) -> Policy:
    """Return the policy that a thing of the user's is or makes, tried out; ForeignError when there is none.

    A policy value; an object that `Backoff.from_object` knows; a class or function that makes one of these, called with
    `args` (one without arguments that it must have is called, too); or a function of the retry number, optionally of a
    `random.Random` and of the delay before. `max_retries` and `budget_s` replace the policy's own.
    """
    found = _made(thing, name, args)
    given = {"max_retries": max_retries, "budget_s": budget_s}
    given = {key: value for key, value in given.items() if value is not UNSET}
    policy = _policy(found, name, given)
    _try_out(policy, name)
    return policy


def _made(thing: object, name: str, args: Mapping[str, object] | None) -> object:
    """Call what makes a policy, give a function its options, and return everything else as it is."""
    if args:
        if not callable(thing):
            raise ForeignError(f"{name} is no function or class, and takes no args")
        # A function of the retry number that has options beside it is not called yet.
        return partial(thing, **args) if _lacks_only_the_retry(thing, args) else _call(thing, name, args)
    makes = isinstance(thing, type) or (inspect.isroutine(thing) and not _required(thing))
    return _call(cast("Callable[..., object]", thing), name, {}) if makes and not _known(thing) else thing


def _call(maker: Callable[..., object], name: str, args: Mapping[str, object]) -> object:
    try:
        return maker(**args)
    except Exception as error:
        # With the wrong arguments the call does not even reach the function; then the place is the function's own.
        outside = isinstance(error, TypeError) and error.__traceback__ and error.__traceback__.tb_next is None
        where = place(maker) if outside else place_of(error)
        raise ForeignError(f"{name} makes no policy: {type(error).__name__}: {error} ({where})") from error


def _lacks_only_the_retry(function: object, args: Mapping[str, object]) -> bool:
    if isinstance(function, type) or not _required(function):
        return False
    try:
        inspect.signature(cast("Callable[..., object]", function)).bind_partial(**args)
    except (TypeError, ValueError):
        return False
    return _required(partial(cast("Callable[..., object]", function), **args)) > 0


def _required(function: object) -> int:
    """Return how many arguments a function must be given; 1 where Python cannot tell."""
    try:
        parameters = inspect.signature(cast("Callable[..., object]", function)).parameters.values()
    except (TypeError, ValueError):
        return 1
    named = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(p.default is p.empty and p.kind not in named for p in parameters)


def _known(thing: object) -> bool:
    """Tell whether a thing is of a library that is known, so that it must not be called to get a policy."""
    try:
        policy_of_object(thing)
    except NotMappedError as error:
        return error.is_known
    return True


def _policy(found: object, name: str, given: dict[str, Any]) -> Policy:
    if all(hasattr(found, needed) for needed in _PROTOCOL) and not isinstance(found, type):
        return _with_limits(cast("Policy", found), name, given)
    try:
        return policy_of_object(found, **given)
    except ValueError as error:
        stranger = isinstance(error, NotMappedError) and not error.is_known
        if not stranger and not _is_wait(found):
            raise ForeignError(f"{name}: {error}") from None
    return _function_policy(_called_by_number(found) if _is_wait(found) else found, name, given)


def _is_wait(thing: object) -> bool:
    """Tell whether it is a wait of tenacity's, or one of the user's derived from it."""
    return any((kind.__module__, kind.__name__) == ("tenacity.wait", "wait_base") for kind in type(thing).__mro__)


def _called_by_number(wait: Any) -> Callable[[int], object]:
    """Return a wait that no formula stands for as a function of the retry number, which is all of the state it gets."""

    def delay(retry: int) -> object:
        return wait(SimpleNamespace(attempt_number=retry))

    return delay


_PROTOCOL = ("name", "max_retries", "budget_s", "formula", "draws", "delay", "delays", "moments", "support", "gives_up")


def _with_limits(policy: Policy, name: str, given: dict[str, Any]) -> Policy:
    if given:
        fields = (
            {field.name for field in dataclasses.fields(policy)} if dataclasses.is_dataclass(policy) else set[str]()
        )
        if missing := sorted(set(given) - fields):
            raise ForeignError(f"{name} is a policy without a field {missing[0]}; set it where the policy is made")
        policy = dataclasses.replace(cast("Any", policy), **given)
    return policy if type(policy).__module__.startswith("tem_sim.") else cast("Policy", GuardedPolicy(policy, name))


def _function_policy(found: object, name: str, given: dict[str, Any]) -> Policy:
    """Wrap a function of (retry), (retry, rng) or (retry, rng, previous_s), or an object with such a method `delay`."""
    function = getattr(found, "delay", found)
    if not callable(function):
        kinds = "a policy, a function of the retry number, or an object that Backoff.from_object knows"
        raise ForeignError(f"{name} must be {kinds}, and is of the type {type(found).__name__}")
    own = {key: getattr(found, key) for key in ("max_retries", "budget_s") if hasattr(found, key)}
    takes = _takes(function, name)
    try:
        return OwnPolicy(function, takes, name=name, **{**own, **given})
    except ValueError as error:
        raise ForeignError(f"{name}: {error} ({place(found)})") from None


def _takes(function: Callable[..., object], name: str) -> int:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ForeignError(f"{name} must be a plain function that returns seconds, not async or a generator")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for takes in (3, 2, 1):
        try:
            signature.bind(*range(takes))
        except TypeError:
            continue
        # A third one is the delay before the last retry only if it says so: it may as well be an option of theirs.
        if takes == 3 and "previous" not in list(signature.parameters)[2]:
            continue
        return takes
    raise ForeignError(f"{name} must take (retry), (retry, rng) or (retry, rng, previous_s) ({place(function)})")


def _try_out(policy: Policy, name: str) -> None:
    """Draw before the first retries: what is wrong every time is found before a run."""
    retries = TRIED_RETRIES if policy.max_retries is None else min(TRIED_RETRIES, policy.max_retries)
    for number in range(TRIED_DRAWS):
        uniform = (number + 0.5) / TRIED_DRAWS
        try:
            once, again = (policy.chain(Dice(uniform), retries) for _ in range(2))
        except Exception as error:
            raise ForeignError(str(error) if isinstance(error, PolicyError) else f"{name}: {error}") from error
        if once != again:
            rule = "it must draw from the rng that it is given, or from random, and depend on nothing else"
            raise ForeignError(f"{name} gives other delays for the same chance ({place(_drawing(policy))}); {rule}")


def _drawing(policy: Policy) -> object:
    return policy.function if isinstance(policy, OwnPolicy) else policy
