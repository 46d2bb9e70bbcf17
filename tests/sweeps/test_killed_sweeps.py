"""A sweep that is killed at any moment: nothing that was kept is lost, nothing that was kept is run again."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
from tiny_sweep import TWO, lasting, tiny

from tem_sim.sweeps.sweep import Sweep

SCRIPT = Path(__file__).with_name("killed_sweeps.py")


def test_killed_at_random_moments_and_resumed_each_run_is_kept_once_and_not_run_again(tmp_path):
    file, out, log = tmp_path / "tiny.yaml", tmp_path / "tiny.db", tmp_path / "log"
    file.write_text(TWO.replace("seeds: 2", "seeds: 4"), encoding="utf-8")
    subprocess.run([sys.executable, SCRIPT, file, out, log], check=True, timeout=300)
    begun: dict[int, list[str]] = {}
    kept: dict[int, list[str]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        what, life, run = line.split(" ", 2)
        {"begun": begun, "kept": kept}[what].setdefault(int(life), []).append(run)
    lives = max(kept)
    assert lives == 6
    for life in range(1, lives + 1):
        before = kept.get(life - 1, [])
        # Whatever there was is there, once, and was not done again.
        assert set(before) <= set(kept.get(life, []))
        assert max(Counter(kept.get(life, [])).values(), default=1) == 1
        assert not set(before) & set(begun.get(life, []))
        # All that a life began is kept, but for the run that it was killed in.
        assert len(set(begun.get(life, [])) - set(kept.get(life, []))) <= (1 if life < lives else 0)
    assert len(kept[lives]) == 8
    assert sum(map(len, begun.values())) <= 8 + lives
    # The kills did find it at work.
    assert len({len(kept.get(life, [])) for life in range(lives)}) > 2
    untouched = tiny(tmp_path, "seeds=4", text=TWO)
    pd.testing.assert_frame_equal(lasting(Sweep.load(out)), lasting(untouched), check_exact=True)
