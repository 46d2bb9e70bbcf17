"""An estimate with its interval as the three columns that it has in every table: `x`, `x_low`, `x_high`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import ArrayLike


def interval_columns(name: str, interval: Interval, most: float = np.inf) -> dict[str, float]:
    """Return the columns; no bound leaves [0, most], where the quantity itself cannot."""
    low, high = (float(np.clip(bound, 0.0, most)) for bound in (interval.low, interval.high))
    return {name: interval.estimate, f"{name}_low": low, f"{name}_high": high}


def mean_columns(name: str, values: ArrayLike, most: float = np.inf) -> dict[str, float]:
    """Return the mean over replications with its t interval."""
    return interval_columns(name, mean_interval(values), most)


def interval_words(row: Mapping[str, float] | pd.Series[float], name: str) -> str:
    """Write a row's estimate with its interval, or alone where there is none: `1,034 [1,020, 1,048]`."""
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    alone = np.isnan(low) or low == high
    return number_words(value) if alone else f"{number_words(value)} [{number_words(low)}, {number_words(high)}]"


def number_words(value: float) -> str:
    """Write a number so that it can be read aloud: whole from 1,000 on, else three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
