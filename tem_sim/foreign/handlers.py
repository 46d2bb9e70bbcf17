"""A handler that is the user's own: a plain function of the event, which does its work or raises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import cast

from tem_sim.foreign.imports import ForeignError, place
from tem_sim.pipeline.ports import ClaimedEvent

HandlerFunction = Callable[[ClaimedEvent], object]


def handler_from(thing: object, name: str) -> HandlerFunction:
    """Return a thing of the user's as a handler; ForeignError when it cannot be called with one event."""
    if isinstance(thing, type) or not callable(thing):
        raise ForeignError(f"{name} must be a function of the event, and is {_what(thing)} ({place(thing)})")
    function = getattr(thing, "__call__", thing) if not inspect.isroutine(thing) else thing  # noqa: B004  Bound, for its signature.
    if any(is_other(function) for is_other in _OTHERS):
        raise ForeignError(f"{name} must be a plain function, not async or a generator ({place(thing)})")
    try:
        inspect.signature(thing).bind(object())
    except TypeError as error:
        raise ForeignError(f"{name} must take one event: {error} ({place(thing)})") from None
    except ValueError:
        # Python cannot tell what a function written in C takes; the first call will.
        pass
    return cast("HandlerFunction", thing)


_OTHERS = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


def _what(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"of the type {type(thing).__name__}"
