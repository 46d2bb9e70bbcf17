"""Bugs of our own in the retry policies."""

from __future__ import annotations

from ..mutant import Mutant, swap

POLICIES = (
    Mutant(
        name="cap-by-max",
        did="took max for min where the cap is applied",
        patches=swap("backoff", "else min(self._cap, value_s))", "else max(self._cap, value_s))"),
        named=("policy_law",),
    ),
    Mutant(
        name="growth-starts-at-zero",
        did="counted the steps of linear growth from the wrong one",
        patches=swap("growth", "self.base_s + step_s * (k - 1)", "self.base_s + step_s * k"),
        named=("policy_law",),
    ),
    Mutant(
        name="full-jitter-never-short",
        did="drew full jitter from the upper half",
        patches=swap("jitter", "        return 0.0, value_s\n", "        return value_s / 2, value_s / 2\n"),
        named=("policy_law",),
    ),
    Mutant(
        name="equal-jitter-too-wide",
        did="added the whole wait to its half",
        patches=swap("jitter", "return value_s / 2, value_s / 2", "return value_s / 2, value_s"),
        named=("policy_law",),
    ),
    Mutant(
        name="decorrelated-below-its-base",
        did="took min for max where the previous delay is too short to grow from",
        patches=swap(
            "backoff",
            "max(base_s, jitter.factor * self._previous(retry, base_s, previous_s))",
            "min(base_s, jitter.factor * self._previous(retry, base_s, previous_s))",
        ),
        named=("policy_law",),
    ),
    Mutant(
        name="explicit-runs-off-its-end",
        did="began again at the first delay after the last one listed",
        patches=swap(
            "growth",
            "self.delays_s[min(retry_number(retry), len(self.delays_s)) - 1]",
            "self.delays_s[(retry_number(retry) - 1) % len(self.delays_s)]",
        ),
        named=("policy_law",),
    ),
    Mutant(
        name="gives-up-one-too-early",
        did="compared the failures with the limit by >= instead of >",
        patches=swap("backoff", "failures > self.max_retries:", "failures >= self.max_retries:"),
        named=("attempts_bounded", "policy_law"),
    ),
    Mutant(
        name="spread-kept-for-all-retries",
        did="kept the distribution of the first retry for all the others",
        patches=swap(
            "backoff",
            "                self._spreads[retry] = spread\n",
            "                self._spreads.update(dict.fromkeys(range(99), spread))\n",
        ),
        named=("policy_law",),
    ),
)
