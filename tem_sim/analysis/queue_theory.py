"""Queues in steady state: Erlang's formulas, M/M/c, and M/M/c whose failures come back after a delay.

Rows are the customers, workers' slots the servers. Arrivals are Poisson, service times exponential, rows served in the
order in which they were queued, and nothing polls: a row that is due is queued at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tem_sim.analysis.retry_theory import attempts_per_event, p_extinct
from tem_sim.pipeline.backoff import Policy


def erlang_b(servers: int, load: float) -> float:
    """Return the part of the calls that c servers without a queue turn away, offered `load` = λ/μ erlangs.

    (a^c/c!) / Σ_{k≤c} a^k/k! (Erlang 1917), by B(c) = a·B(c − 1)/(c + a·B(c − 1)), B(0) = 1, which needs no factorial.
    """
    _check(servers, load)
    blocked = 1.0
    for c in range(1, servers + 1):
        blocked = load * blocked / (c + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Return the part of the rows that find all c servers busy and wait.

    B / (1 − ρ·(1 − B)) with ρ = a/c (Erlang 1917); 1 from a load of c on, where the queue grows without bound.
    """
    _check(servers, load)
    if load >= servers:
        return 1.0
    blocked, used = erlang_b(servers, load), load / servers
    return blocked / (1 - used * (1 - blocked))


@dataclass(frozen=True, slots=True)
class MMc:
    """M/M/c: Poisson arrivals, exponential service, c servers, one queue (Kleinrock 1975, "Queueing Systems" I, 3.5).

    Means are infinite where the servers cannot keep up (`utilisation` of 1 or more).
    """

    arrival_per_s: float
    service_s: float
    servers: int

    def __post_init__(self) -> None:
        _positive("arrival_per_s", self.arrival_per_s)
        _positive("service_s", self.service_s)
        _check(self.servers, self.load)

    @property
    def load(self) -> float:
        """The offered load in erlangs, λ/μ: the servers that would be busy if there were enough."""
        return self.arrival_per_s * self.service_s

    @property
    def utilisation(self) -> float:
        """The part of the servers' time that is spent, ρ = λ/(c·μ); more than 1 is asked for, not spent."""
        return self.load / self.servers

    @property
    def stable(self) -> bool:
        """Whether the servers keep up."""
        return self.utilisation < 1

    @property
    def wait_probability(self) -> float:
        """The part of the rows that wait at all: Erlang's C."""
        return erlang_c(self.servers, self.load)

    @property
    def queued(self) -> float:
        """The mean number of rows that wait, C·ρ/(1 − ρ)."""
        if not self.stable:
            return math.inf
        return self.wait_probability * self.utilisation / (1 - self.utilisation)

    @property
    def busy(self) -> float:
        """The mean number of servers at work."""
        return min(self.load, float(self.servers))

    @property
    def in_system(self) -> float:
        """The mean number of rows that wait or are served."""
        return self.queued + self.busy

    @property
    def wait_s(self) -> float:
        """The mean wait for a server, by Little's law."""
        return self.queued / self.arrival_per_s

    @property
    def response_s(self) -> float:
        """The mean time from being queued to the end of service."""
        return self.wait_s + self.service_s

    def wait_exceeds(self, wait_s: float) -> float:
        """Return P(wait > t) = C·exp(−(c·μ − λ)·t), rows served in order."""
        _check_at_least_0("wait_s", wait_s)
        spare_per_s = self.servers / self.service_s - self.arrival_per_s
        return self.wait_probability * math.exp(-spare_per_s * wait_s) if self.stable else 1.0

    def in_system_probability(self, rows: int) -> float:
        """Return the probability that exactly so many rows wait or are served; 0 where the queue grows for ever."""
        _check_at_least_0("rows", rows)
        if not self.stable:
            return 0.0
        return math.exp(self._log_weight(rows) - self._log_weights_sum)

    def _log_weight(self, rows: int) -> float:
        """Return log(P(n)/P(0)): a^n/n! up to c, then ρ for each further row. Logs hold what would underflow."""
        served = min(rows, self.servers)
        beyond = (rows - served) * math.log(self.utilisation)
        return served * math.log(self.load) - math.lgamma(served + 1) + beyond

    @property
    def _log_weights_sum(self) -> float:
        below = [self._log_weight(rows) for rows in range(self.servers)]
        logs = [*below, self._log_weight(self.servers) - math.log1p(-self.utilisation)]
        return max(logs) + math.log(math.fsum(math.exp(one - max(logs)) for one in logs))


@dataclass(frozen=True, slots=True)
class RetryQueue:
    """M/M/c with failures: each attempt fails with probability p, and waits out a delay before it is queued again.

    Product form (Baskett, Chandy, Muntz, Palacios 1975, "Open, Closed, and Mixed Networks of Queues with Different
    Classes of Customers", J. ACM 22, 248–260): the workers are a first-come-first-served station whose classes, the
    attempt numbers, share one exponential service; the backoff is a station of infinitely many servers, where any delay
    law will do (their type 3), one per retry number and depending on the delay before. So in steady state

    * the queue is M/M/c at the rate of all attempts, λ·(1 − p^(R+1))/(1 − p), although its arrivals are not Poisson;
    * the rows in backoff are Poisson with mean λ·Σ_{k=1..R} p^k·E d_k; and
    * at any instant both are independent.

    `lag_s` is added to each delay: with a scheduler that looks every T seconds, T/2 (see `studies.validation`).
    """

    arrival_per_s: float
    service_s: float
    servers: int
    failure: float
    policy: Policy
    lag_s: float = 0.0
    attempts: MMc = field(init=False)

    def __post_init__(self) -> None:
        if self.policy.max_retries is None or self.policy.budget_s is not None:
            raise ValueError(f"{self.policy.name}: needs a number of retries and no budget of total time")
        _check_at_least_0("lag_s", self.lag_s)
        rate_per_s = self.arrival_per_s * attempts_per_event(self.failure, self.policy.max_retries)
        object.__setattr__(self, "attempts", MMc(rate_per_s, self.service_s, self.servers))

    @property
    def attempts_per_event(self) -> float:
        """The mean attempts per event: the amplification."""
        return attempts_per_event(self.failure, self.policy.max_retries)

    @property
    def p_extinct(self) -> float:
        """The part of the events that ends EXTINCT."""
        return p_extinct(self.failure, self.policy.max_retries)

    @property
    def in_backoff(self) -> float:
        """The mean number of rows in backoff; their number is Poisson, so this is its variance too."""
        retries = range(1, (self.policy.max_retries or 0) + 1)
        return self.arrival_per_s * math.fsum(
            self.failure**retry * (self.policy.mean_s(retry) + self.lag_s) for retry in retries
        )

    @property
    def open_rows(self) -> float:
        """The mean number of rows that are not terminal: queued, in work or in backoff."""
        return self.attempts.in_system + self.in_backoff

    @property
    def time_to_end_s(self) -> float:
        """The mean time from submit to PROCESSED or EXTINCT, by Little's law."""
        return little_time_s(self.open_rows, self.arrival_per_s)

    def in_backoff_probability(self, rows: int) -> float:
        """Return the probability that exactly so many rows are in backoff."""
        _check_at_least_0("rows", rows)
        mean = self.in_backoff
        if mean == 0:
            return float(rows == 0)
        return math.exp(rows * math.log(mean) - mean - math.lgamma(rows + 1))


def little_rows(rate_per_s: float, time_s: float) -> float:
    """Return the mean number present, L = λ·W (Little 1961, "A Proof for the Queuing Formula L = λW", Oper. Res. 9)."""
    _check_at_least_0("rate_per_s", rate_per_s)
    _check_at_least_0("time_s", time_s)
    return rate_per_s * time_s


def little_time_s(rows: float, rate_per_s: float) -> float:
    """Return the mean time spent, W = L/λ (Little 1961)."""
    _check_at_least_0("rows", rows)
    _positive("rate_per_s", rate_per_s)
    return rows / rate_per_s


def drain_s(backlog: float, capacity_per_s: float, load_per_s: float) -> float:
    """Return how long a backlog of Q attempts takes to go, Q/(μ − λ); infinite where the load leaves nothing to spare.

    Exact as a mean for M/M/1, from Q rows to none (the busy period Q begins; Kleinrock 1975, 5.8), and the fluid limit
    for others. `load_per_s` counts attempts, retries included: new events times `attempts_per_event`.
    """
    _check_at_least_0("backlog", backlog)
    _positive("capacity_per_s", capacity_per_s)
    _check_at_least_0("load_per_s", load_per_s)
    if backlog == 0:
        return 0.0
    spare_per_s = capacity_per_s - load_per_s
    return backlog / spare_per_s if spare_per_s > 0 else math.inf


def _check(servers: int, load: float) -> None:
    if servers != int(servers) or servers < 1:
        raise ValueError(f"servers must be a whole number from 1 on, got {servers}")
    if not 0 <= load < math.inf:
        raise ValueError(f"load must be from 0 erlangs on, got {load}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be > 0, got {value}")


def _check_at_least_0(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be from 0 on, got {value}")
