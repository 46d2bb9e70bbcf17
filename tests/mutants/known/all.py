"""All mutants, in the order of the table."""

from __future__ import annotations

from ..mutant import Mutant
from .chaos import CHAOS
from .equivalents import CANARY, EQUIVALENTS
from .lifecycle import LIFECYCLE
from .policies import POLICIES
from .settling import SETTLING

MUTANTS: tuple[Mutant, ...] = (*CHAOS, *LIFECYCLE, *SETTLING, *POLICIES, CANARY)
ALL = {mutant.name: mutant for mutant in (*MUTANTS, *EQUIVALENTS)}
