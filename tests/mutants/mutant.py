"""What a mutant is: a known bug as data."""

from __future__ import annotations

from dataclasses import dataclass

from .patches import Replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: what a tired engineer did, the patches that do it, and the checks of which one must see it.

    `chaos`: its number in the list of known bugs of the chaos reference, §3; None for one of our own. `equivalent`: why
    nothing can tell it from the code as it is; such a mutant must survive. `rare`: shows only where `seed % 100 == 0`.
    """

    name: str
    did: str
    patches: tuple[Replace, ...]
    named: tuple[str, ...] = ()
    chaos: int | None = None
    equivalent: str = ""
    rare: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it changes."""
        return tuple(dict.fromkeys(patch.module for patch in self.patches))


def swap(module: str, old: str, new: str) -> tuple[Replace, ...]:
    """Return the patch that takes one passage for another."""
    return (Replace(module, old, new),)
