"""Whether one more worker is started, by what is there; and what follows from launches that fail."""

import pytest

from hs_deploy.launchers.autoscale import Census, Policy, decide
from hs_deploy.launchers.launches import FAILURES_MAX, HINT, PAUSE_MAX_S, STAYED_S, Launches

FIXED = Policy(mode="fixed", init_size=2, min_size=2, max_size=4)
NONE_AT_LEAST = Policy(mode="fixed")
DYNAMIC = Policy(mode="dynamic", factor=2.0, min_size=1, max_size=4)
FROM_NOTHING = Policy(mode="dynamic", max_size=4)


def a_census(units: int, remaining: int, *, average_s: float | None = 10.0, slots: int | None = None) -> Census:
    """Return one of workers with two slots each."""
    return Census(units=units, slots=2 * units if slots is None else slots, remaining=remaining, average_s=average_s)


@pytest.mark.parametrize(
    ("policy", "census", "start", "reason"),
    [
        # fixed keeps its size, whatever there is to do
        (FIXED, a_census(2, 1_000_000), False, "enough"),
        (FIXED, a_census(1, 0), True, "1 of at least 2"),
        (FIXED, a_census(0, 0), True, "0 of at least 2"),
        (FIXED, a_census(5, 10), False, "enough"),  # --max-size bounds dynamic only
        # without a minimum there is one as long as there are tasks
        (NONE_AT_LEAST, a_census(0, 1), True, "tasks remain, and there is no worker"),
        (NONE_AT_LEAST, a_census(0, 0), False, "enough"),
        (NONE_AT_LEAST, a_census(1, 1_000_000), False, "enough"),
        # dynamic: toc = 4 / (2 / 10 s) = 20 s, and 2 x 10 s are allowed
        (DYNAMIC, a_census(1, 4), False, "the pressure is low"),
        (DYNAMIC, a_census(1, 5), True, "the pressure is high"),
        (DYNAMIC, a_census(3, 13), True, "the pressure is high"),
        (DYNAMIC, a_census(4, 1_000_000), False, "the pressure is high, but 4 is the most"),
        (DYNAMIC, a_census(0, 0), True, "0 of at least 1"),
        # slots of others that joined, and of launched ones that are not here yet, count
        (DYNAMIC, a_census(1, 5, slots=4), False, "the pressure is low"),
        # unknown: one if there are none and tasks remain
        (FROM_NOTHING, a_census(0, 100, average_s=None), True, "tasks remain, and there is no worker"),
        (FROM_NOTHING, a_census(1, 100, average_s=None), False, "nothing has finished yet"),
        (FROM_NOTHING, a_census(1, 0, average_s=None), False, "nothing to do"),
        (FROM_NOTHING, a_census(0, 0), False, "nothing to do"),
        (Policy(mode="dynamic", init_size=0, max_size=0), a_census(0, 5), False, "tasks remain, but --max-size is 0"),
    ],
)
def test_one_step_up_or_none(policy: Policy, census: Census, *, start: bool, reason: str) -> None:
    """By the numbers of the moment alone."""
    decision = decide(policy, census)

    assert (decision.start, decision.reason) == (start, reason)


def test_a_decision_carries_its_numbers() -> None:
    """They are logged, and shown by `hs status`."""
    assert decide(DYNAMIC, a_census(1, 5)).numbers() == {
        "start": True,
        "reason": "the pressure is high",
        "units": 1,
        "slots": 2,
        "remaining": 5,
        "average_s": 10.0,
        "toc_s": 25.0,
        "pressure": 1.25,
    }


def test_the_first_ones_are_launched_together_and_then_one_a_period() -> None:
    launches = Launches(FIXED, now=0.0)

    assert (launches.initial(0.0), launches.initial(0.0)) == (2, 0)
    assert (launches.due(59.9), launches.due(60.0)) == (False, True)
    assert launches.decide(a_census(1, 5), 60.0).start
    assert launches.deadline() == 120.0


def test_a_launch_that_fails_is_said_and_the_next_waits_longer_each_time() -> None:
    """Up to four periods, and to a minute."""
    launches = Launches(Policy(mode="fixed", min_size=1, period_s=1.0), now=0.0)

    assert (
        launches.ended(1, "srun ended with status 1", lived_s=0.1, connected=0, now=0.0) == "srun ended with status 1"
    )
    assert launches.decide(a_census(0, 5), 0.9).start is False
    assert launches.decide(a_census(0, 5), 1.0).start is True
    launches.ended(1, "srun ended with status 1", lived_s=0.1, connected=0, now=1.0)
    assert launches.decide(a_census(0, 5), 2.9).reason.endswith("after 2 failed launches")
    for _ in range(6):
        launches.ended(1, "again", lived_s=0.1, connected=0, now=3.0)
    assert launches.decide(a_census(0, 5), 6.9).start is False
    assert launches.decide(a_census(0, 5), 7.0).start is True


def test_no_pause_is_longer_than_a_minute() -> None:
    launches = Launches(Policy(mode="fixed", min_size=1, period_s=3600.0), now=0.0)

    launches.ended(1, "no slots", lived_s=0.1, connected=0, now=0.0)

    assert launches.decide(a_census(0, 5), PAUSE_MAX_S).start is True


def test_ten_failures_in_a_row_are_the_end_and_one_that_came_begins_anew() -> None:
    launches = Launches(FIXED, now=0.0)
    for _ in range(FAILURES_MAX - 1):
        launches.ended(1, "no slots", lived_s=0.1, connected=0, now=0.0)
    assert launches.hopeless == ""
    launches.stayed()
    for _ in range(FAILURES_MAX):
        launches.ended(1, "no slots", lived_s=0.1, connected=0, now=0.0)

    assert launches.hopeless == "10 launches in a row have failed; the last: no slots"


@pytest.mark.parametrize(
    ("status", "hopeless"),
    [
        (3, True),  # of a worker that never reached its broker, though it tried for long
        (-9, False),
        (1, False),
    ],
)
def test_one_that_ends_long_after_it_came_shows_that_launching_works(status: int, *, hopeless: bool) -> None:
    """However often that happens."""
    launches = Launches(FIXED, now=0.0)

    for number in range(FAILURES_MAX):
        launches.ended(status, "gone", lived_s=2 * STAYED_S, connected=0, now=100.0 * number)

    assert bool(launches.hopeless) is hopeless


@pytest.mark.parametrize(
    ("status", "lived_s", "connected", "said"),
    [
        (0, 1.0, 0, f"sbatch ended{HINT}"),
        (0, STAYED_S, 0, ""),  # its worker had nothing to do and left
        (0, 1.0, 1, ""),
        (1, 3600.0, 3, "sbatch ended"),
    ],
)
def test_a_launcher_that_returns_at_once_is_told_to_stay(
    status: int, lived_s: float, connected: int, said: str
) -> None:
    launches = Launches(FIXED, now=0.0)

    assert launches.ended(status, "sbatch ended", lived_s=lived_s, connected=connected, now=lived_s) == said


@pytest.mark.parametrize("stays_s", [0.0, 2.0])
def test_a_worker_that_leaves_soon_because_there_is_nothing_to_do_is_no_failure(stays_s: float) -> None:
    """With a short `-T`, and again and again: launching works."""
    launches = Launches(FIXED, now=0.0, stays_s=stays_s)
    launches.ended(1, "no slots", lived_s=0.1, connected=0, now=0.0)

    said = [launches.ended(0, "it left", lived_s=2.0, connected=0, now=9.0) for _ in range(FAILURES_MAX)]

    assert (said, launches.hopeless) == ([""] * FAILURES_MAX, "")
    launches.ended(1, "no slots", lived_s=0.1, connected=0, now=10.0)
    assert launches.decide(a_census(0, 5), 10.0).reason.endswith("after 1 failed launches")


def test_when_the_end_was_asked_for_nothing_is_launched_or_said() -> None:
    launches = Launches(FIXED, now=0.0)
    launches.closed = True

    assert (launches.initial(0.0), launches.due(1e9)) == (0, False)
    assert launches.ended(-15, "killed", lived_s=1.0, connected=0, now=1.0) == ""
