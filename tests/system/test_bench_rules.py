"""How the figures of `make bench` are made: a table whose arithmetic is wrong would be believed."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench.measure import Series, measured, percentile, rates, rotated
from tests.bench.table import Bar, Judged


def judged(value: float, *, at_most: bool) -> Judged:
    return Judged(row="r", what="w", value=value, bar=Bar(value=1.5, unit="x", at_most=at_most))


def test_a_marginal_rate_leaves_start_up_out() -> None:
    """Half a second of start-up and 1 ms a task are 1,000 tasks/s, however many tasks there are."""
    found = rates({"ours": lambda tasks: 0.5 + tasks * 0.001}, tasks=100, rounds=3)
    assert found["ours"].values == pytest.approx((1000, 1000, 1000))


def test_each_round_begins_with_another_contender() -> None:
    order: list[str] = []

    def once(name: str) -> float:
        order.append(name)
        return 1.0

    measured({"a": "a", "b": "b"}, once, rounds=2)
    assert (order, list(rotated("abc", 4))) == (["a", "b", "b", "a"], ["b", "c", "a"])


def test_the_median_is_judged_and_the_spread_told() -> None:
    series = Series(name="ours", values=(1.0, 9.0, 2.0))
    assert (series.median, series.spread) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("value", "at_most", "verdict"),
    [(1.5, True, "met"), (1.8, True, "short by 20%"), (1.5, False, "met"), (1.2, False, "short by 20%")],
)
def test_a_verdict_says_by_which_part_of_the_bar_it_is_short(value: float, at_most: bool, verdict: str) -> None:
    assert judged(value, at_most=at_most).verdict == verdict


def test_a_percentile_is_one_of_the_values() -> None:
    assert (percentile([3.0, 1.0, 2.0], 0.5), percentile([1.0], 0.9)) == (2.0, 1.0)


@pytest.mark.parametrize("way", ["apart", "at-once"])
def test_the_bare_script_still_knows_our_schema_and_statements(tmp_path: Path, way: str) -> None:
    """It checks itself that every line was recorded."""
    (tmp_path / "lines").write_text("true\n" * 1_200)
    peer = Path(__file__).parents[1] / "bench/peers/sqlite_queue.py"
    done = subprocess.run(
        [sys.executable, peer, tmp_path / "lines", tmp_path / "bare.db", way],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
