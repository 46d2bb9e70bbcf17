"""Policies of the user's own code, by import path: what is taken, what is refused, and where the blame is put."""

import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.foreign.chance import Dice, global_chance
from tem_sim.foreign.imports import ForeignError, imported
from tem_sim.foreign.policies import GuardedPolicy, OwnPolicy, PolicyError, policy_from
from tem_sim.frames import Run, RunError
from tem_sim.pipeline.backoff import Backoff, Exponential, Full
from tem_sim.pipeline.presets import PRESETS
from tem_sim.report.outcome import judge
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.sim.kernel import SimulationError
from tem_sim.sim.world import simulate

STORM = """
scenario: own
horizon: 2m
arrivals: {kind: burst, at: 1s, events: 20}
workers: {count: 2, concurrency: 2}
faults: [{kind: outage, at: 0s, for: 10s}]
"""
FULL_JITTER = """
def policy(retry, rng):
    return rng.uniform(0, 2.0 * 2 ** (retry - 1))
"""


def storm(backoff: str) -> Scenario:
    return loads(f"{STORM}pipeline: {{backoff: {backoff}}}\n", file="own.yaml")


def refused(backoff: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        storm(backoff)
    (problem,) = caught.value.problems
    assert (problem.line, problem.col) == (7, 21 + ("{import: " in backoff) * len("{import: "))
    return str(problem)


# --- what is taken


def test_a_function_of_the_users_is_the_same_run_as_the_same_formula_of_ours(own):
    own("backoff", FULL_JITTER)
    ours = storm("{growth: exponential, base: 2s, jitter: full}")
    assert simulate(storm("own_pkg.backoff:policy")).digest == simulate(ours).digest


@pytest.mark.parametrize(
    ("source", "chain"),
    [
        ("def policy(retry): return 3 * retry", (3, 6, 9)),
        ("def policy(retry, rng): return retry + 0 * rng.random()", (1, 2, 3)),
        ("def policy(retry, rng, previous_s): return 2 * (previous_s or 1)", (2, 4, 8)),
        ("def policy(retry, rng=None, option=4): return option", (4, 4, 4)),
        ("import numpy as np\ndef policy(retry, rng): return np.float64(5)", (5, 5, 5)),
        ("policy = lambda retry: 1.5", (1.5, 1.5, 1.5)),
        ("class Own:\n    def delay(self, retry, rng): return 7\npolicy = Own()", (7, 7, 7)),
        ("class policy:\n    def delay(self, retry, rng): return 8", (8, 8, 8)),
        ("from tem_sim.pipeline.backoff import Backoff, Fixed\npolicy = Backoff(Fixed(9))", (9, 9, 9)),
        ("from tem_sim.pipeline.backoff import Backoff, Fixed\ndef policy(): return Backoff(Fixed(9))", (9, 9, 9)),
        ("from tem_sim.pipeline.backoff import Backoff, Fixed\ndef policy(s=6): return Backoff(Fixed(s))", (6, 6, 6)),
        ("import tenacity\npolicy = tenacity.wait_exponential()", (1, 2, 4)),
        ("import backoff\npolicy = backoff.fibo", (1, 1, 2)),
        ("def policy():\n    def delay(retry): return 2\n    return delay", (2, 2, 2)),
    ],
)
def test_each_form_of_a_policy(own, source, chain):
    own("backoff", source)
    policy = policy_from(imported("own_pkg.backoff:policy"), "own_pkg.backoff:policy")
    assert policy.chain(random.Random(1), 3) == chain
    assert policy.gives_up(policy.max_retries + 1, 0, 0) if policy.max_retries is not None else True


def test_args_make_a_policy_or_set_the_options_of_a_function(own):
    own(
        "backoff",
        """
        from tem_sim.pipeline.backoff import Backoff, Fixed
        def make(delay_s, *, retries=3): return Backoff(Fixed(delay_s), max_retries=retries)
        def delay(retry, rng, cap_s=60): return min(cap_s, 10 * retry)
        """,
    )
    made = storm("{import: own_pkg.backoff:make, args: {delay_s: 4, retries: 2}}").policy()
    assert made == Backoff(made.growth, max_retries=2)
    assert storm("{import: own_pkg.backoff:delay, args: {cap_s: 15}}").policy().chain(Dice(0.5), 3) == (10, 15, 15)


def test_limits_in_the_scenario_replace_those_of_the_code(own):
    own(
        "backoff",
        """
        from tem_sim.pipeline.backoff import Backoff
        value = Backoff(max_retries=9)
        class Own:
            max_retries = 4
            budget_s = 100.0
            def delay(self, retry, rng): return 1
        def function(retry): return 1
        """,
    )

    def limits(text: str) -> tuple[int | None, float | None]:
        policy = storm(text).policy()
        return policy.max_retries, policy.budget_s

    assert limits("{import: own_pkg.backoff:value}") == (9, None)
    assert limits("{import: own_pkg.backoff:value, max_retries: off, budget: 1m}") == (None, 60.0)
    assert limits("{import: own_pkg.backoff:Own}") == (4, 100.0)
    assert limits("{import: own_pkg.backoff:Own, max_retries: 2, budget: off}") == (2, None)
    assert limits("own_pkg.backoff:function") == (5, None)


def test_a_wait_of_tenacitys_that_no_formula_stands_for_is_called_as_it_is(own):
    own(
        "backoff",
        """
        import random, tenacity
        class Wait(tenacity.wait.wait_base):
            def __call__(self, retry_state): return random.uniform(0, retry_state.attempt_number)
        wait = tenacity.wait_fixed(1) + Wait()
        def same(retry, rng): return 1 + random.uniform(0, retry)
        """,
    )
    wait, same = (storm(f"own_pkg.backoff:{name}") for name in ("wait", "same"))
    assert wait.policy().chain(Dice(0.3), 5) == same.policy().chain(Dice(0.3), 5)
    assert simulate(wait).digest == simulate(same).digest


def test_a_scenario_is_saved_with_the_path_and_loads_again(own):
    own("backoff", FULL_JITTER)
    scenario = storm("own_pkg.backoff:policy")
    saved = scenario.resolved()
    assert saved["pipeline"]["backoff"] == {"import": "own_pkg.backoff:policy", "args": {}, "scale": 1.0}
    assert Scenario.model_validate(saved) == scenario


def test_a_base_file_with_another_policy_is_replaced_as_a_whole(own, tmp_path):
    own("backoff", FULL_JITTER)
    (tmp_path / "base.yaml").write_text(f"{STORM}pipeline: {{backoff: {{growth: fixed, base: 3s}}, lease: 9s}}\n")
    child = loads("extends: base.yaml\npipeline: {backoff: {import: own_pkg.backoff:policy}}\n")
    assert (child.policy().name, child.pipeline.lease_s) == ("own_pkg.backoff:policy", 9)


# --- chance


def test_the_first_draw_of_the_dice_is_the_uniform_and_the_rest_are_as_good():
    dice = [Dice(random.Random(n).random()) for n in range(6000)]
    assert [die.random() for die in dice[:50]] == [random.Random(n).random() for n in range(50)]
    for _ in range(2):
        assert np.mean([die.random() for die in dice]) == pytest.approx(0.5, abs=0.02)
    faces = Counter(die.randrange(6) for die in dice)
    assert max(abs(count - 1000) for count in faces.values()) < 150
    assert np.std([die.gauss(0, 1) for die in dice]) == pytest.approx(1, abs=0.05)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 200))
def test_dice_with_the_same_uniform_fall_alike(uniform, bits):
    one, other = Dice(uniform), Dice(uniform)
    one.seed(3)
    assert one.getrandbits(bits) == other.getrandbits(bits) < 2**bits
    assert [one.random(), one.choice("abc")] == [other.random(), other.choice("abc")]


def test_the_module_functions_of_random_follow_the_uniform_and_are_left_as_they_were():
    random.seed(5)
    expected = random.Random(5).random()
    with global_chance(0.25):
        first = random.random()
    with global_chance(0.25):
        assert random.random() == first
    assert random.random() == expected


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_one_and_many_draws_of_an_own_policy_agree(retry, seed):
    policy = OwnPolicy(lambda k, rng: rng.uniform(k, 2 * k) + random.random(), name="own")
    one = np.random.default_rng(seed)
    many = policy.delays(retry, np.random.default_rng(seed), 20)
    assert many.tolist() == [policy.delay(retry, one) for _ in range(20)]


def test_the_mean_of_an_own_policy_is_taken_over_its_uniform():
    policy = OwnPolicy(lambda k, rng: rng.uniform(0, 4 * k), name="own")
    assert policy.mean_s(3) == pytest.approx(6, abs=1e-9)
    chained = OwnPolicy(lambda k, rng, previous_s: 2 * (previous_s or 1), 3, name="own")
    assert chained.mean_s(4) == 16
    assert policy.support(2)[0] == 0


def test_delays_that_need_the_one_before_take_one_for_all_or_one_each():
    policy = OwnPolicy(lambda k, rng, previous_s: previous_s, 3, name="own")
    rng = np.random.default_rng(1)
    assert policy.delays(2, rng, 2, np.array([3.0, 4.0])).tolist() == [3, 4]
    assert policy.delays(2, rng, 2, 5.0).tolist() == [5, 5]


# --- what is refused


@pytest.mark.parametrize(
    ("path", "rule", "hint"),
    [
        ("sidekiq", "must be module:name", "did you mean {preset: sidekiq}?"),
        ("own_pkg/backoff.py:policy", "must be module:name", ""),
        ("own_pkg.backof:policy", "there is no module own_pkg.backof (in ", ""),
        ("no_such_pkg.backoff:policy", "there is no module no_such_pkg (in ", ""),
        ("own_pkg.backoff:polcy", "own_pkg.backoff (own_pkg/backoff.py) has no polcy", "did you mean policy?"),
        ("own_pkg.backoff:policy.delays", "it has no delays", ""),
        ("own_pkg.missing:policy", "No module named 'no_such_library' (own_pkg/missing.py:2)", ""),
        ("own_pkg.broken:policy", "cannot be imported: ZeroDivisionError: division by zero (own_pkg/broken.py:2)", ""),
        ("own_pkg.exits:policy", "cannot be imported: SystemExit: 3 (own_pkg/exits.py:2)", ""),
        ("own_pkg.syntax:policy", "cannot be imported: SyntaxError", ""),
    ],
)
def test_a_path_that_leads_nowhere_is_told_in_its_place(own, path, rule, hint):
    own("backoff", FULL_JITTER)
    own("missing", "\nimport no_such_library\n")
    own("broken", "\nvalue = 1 / 0\n")
    own("exits", "\nraise SystemExit(3)\n")
    own("syntax", "\ndef policy(:\n")
    told = refused(path)
    assert rule in told
    assert hint in told
    assert rule in refused(f"{{import: {path}}}")


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def policy(retry): return float('nan')", "returned nan before retry 1; a delay must be a finite number"),
        ("def policy(retry): return 3 - retry", "returned -1 before retry 4"),
        ("def policy(retry): return float('inf')", "returned inf"),
        ("def policy(retry): return None", "returned None"),
        ("def policy(retry): return '3'", "returned '3'"),
        ("def policy(retry, rng):\n    return 1 / (retry - 3)", "returned -0.5"),
        ("def policy(retry):\n    return 1 / (3 - retry)", "raised ZeroDivisionError: "),
        ("def policy(a, b, c, d): return 1", "must take (retry), (retry, rng) or (retry, rng, previous_s)"),
        ("def policy(retry, *, base): return base", "must take (retry)"),
        ("async def policy(retry): return 1", "must be a plain function"),
        ("def policy(retry): yield 1", "must be a plain function"),
        ("policy = 5", "must be a policy, a function of the retry number, or an object"),
        ("def policy(): return 5", "must be a policy, a function of the retry number, or an object"),
        (
            "import os\ndef policy(retry): return int.from_bytes(os.urandom(4), 'big')",
            "other delays for the same chance",
        ),
        ("calls = []\ndef policy(retry):\n    calls.append(1)\n    return len(calls)", "other delays for the same"),
        ("import botocore.config as c\npolicy = c.Config(retries={'mode': 'adaptive'})", "mode adaptive limits"),
        ("import backoff\npolicy = backoff.runtime", "backoff's runtime has no formula"),
        ("class Own:\n    max_retries = -1\n    def delay(self, retry, rng): return 1\npolicy = Own()", "max_retries"),
    ],
)
def test_a_policy_that_is_none_is_told_when_it_is_loaded(own, source, rule):
    own("backoff", source)
    assert rule in refused("own_pkg.backoff:policy")


def test_the_blame_names_the_users_file_and_line(own):
    own("deep", "\n\ndef helper(retry):\n    return [][retry]\n")
    own("backoff", "from own_pkg.deep import helper\n\ndef policy(retry):\n    return helper(retry)\n")
    assert "own_pkg/deep.py:4: own_pkg.backoff:policy raised IndexError: list index out of range" in refused(
        "own_pkg.backoff:policy"
    )
    own("other", "\n\n\ndef policy(retry): return -1\n")
    assert "own_pkg/other.py:4: own_pkg.other:policy returned -1 before retry 1" in refused("own_pkg.other:policy")


def test_arguments_that_do_not_fit_name_the_function(own):
    own("backoff", "\ndef make(base):\n    return base\n\nvalue = 5\n")
    told = refused("{import: own_pkg.backoff:make, args: {bas: 3}}")
    assert "makes no policy: TypeError: make() got an unexpected keyword argument 'bas' (own_pkg/backoff.py:2)" in told
    assert "is no function or class, and takes no args" in refused("{import: own_pkg.backoff:value, args: {x: 1}}")


def test_a_limit_that_the_users_policy_cannot_take_is_refused(own):
    own(
        "backoff",
        """
        from tem_sim.pipeline.backoff import Backoff
        class Own:
            def __init__(self): self._inner = Backoff()
            def __getattr__(self, name): return getattr(self._inner, name)
        """,
    )
    assert "is a policy without a field max_retries" in refused("{import: own_pkg.backoff:Own, max_retries: 3}")


# --- in a run


def test_a_policy_that_goes_wrong_later_breaks_the_run_and_is_blamed(own):
    own("backoff", "\ndef policy(retry):\n    return 1.0 if retry < 20 else float('nan')\n")
    scenario = storm("{import: own_pkg.backoff:policy, max_retries: 30}").model_copy(update={"faults": ()})
    outage = loads(
        f"{STORM.replace('10s', '100s')}pipeline: {{backoff: {{import: own_pkg.backoff:policy, max_retries: 30}}}}"
    )
    assert simulate(scenario).status == "complete"
    with pytest.raises(SimulationError, match=r"PolicyError: own_pkg/backoff.py:2: .* returned nan before retry 20"):
        simulate(outage)


def test_a_policy_value_of_the_users_is_watched_as_well(own):
    own(
        "backoff",
        """
        from dataclasses import dataclass
        from tem_sim.pipeline.backoff import Drawn
        from tem_sim.pipeline.spread import Uniform

        @dataclass(frozen=True)
        class Own(Drawn):
            max_retries: int = 40
            budget_s: float | None = None
            name: str = "own"
            formula: str = "?"
            def spread(self, retry, previous_s=None):
                return Uniform(5.0 if retry < 20 else -1.0)
        policy = Own()
        """,
    )
    policy = storm("own_pkg.backoff:policy").policy()
    assert isinstance(policy, GuardedPolicy)
    assert (policy.support(1), policy.max_retries, policy.needs_previous) == ((5, 5), 40, False)
    with pytest.raises(PolicyError, match=r"returned -1.0 before retry 20"):
        policy.delay(20, random.Random(1))


def test_our_own_policies_pass_unwatched():
    assert policy_from(Backoff(Exponential(1), Full()), "x") == Backoff(Exponential(1), Full())
    for name, preset in PRESETS.items():
        assert policy_from(preset.policy, name) == preset.policy


def test_the_digest_is_the_same_in_another_process_with_another_hash_seed(own):
    own("backoff", "import random\ndef policy(retry, rng): return rng.choice([1, 2, 3]) + random.random()\n")
    code = f"""
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import simulate
print(simulate(loads({STORM!r} + "pipeline: {{backoff: own_pkg.backoff:policy}}")).digest)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == simulate(storm("own_pkg.backoff:policy")).digest


def test_a_path_is_found_from_the_working_directory_alone(own, tmp_path, monkeypatch):
    own("backoff", FULL_JITTER)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ForeignError, match="run from the folder that holds it"):
        imported("own_pkg.backoff:policy")


def test_a_saved_run_is_judged_again_where_its_code_is_and_says_so_where_it_is_not(own, tmp_path, monkeypatch):
    own("backoff", FULL_JITTER)
    simulate(storm("own_pkg.backoff:policy")).save(tmp_path / "run")
    assert judge(Run.load(tmp_path / "run")).word == "PASS"
    (tmp_path / "own_pkg" / "backoff.py").unlink()
    del sys.modules["own_pkg.backoff"]
    with pytest.raises(RunError, match=r"cannot be used here: pipeline.backoff.*: there is no module own_pkg.backoff"):
        judge(Run.load(tmp_path / "run"))
