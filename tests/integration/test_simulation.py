"""Whatever dies or breaks, in whatever order: nothing lost, nothing recorded twice, nothing run twice but by a worker's death."""

import pytest
from tests.integration.simulation import World

TASKS = 60

STORIES = [
    (),
    ("link",),
    ("broker",),
    ("scheduler",),
    ("scheduler", "scheduler.after_commit"),
    ("both",),
    ("broker", "scheduler", "both", "link", "scheduler.after_commit"),
    ("ending",),
    ("ending", "broker", "scheduler", "link"),
]


@pytest.mark.parametrize("disasters", STORIES, ids="-".join)
@pytest.mark.parametrize("bundlesize", [1, 7])
@pytest.mark.parametrize("seed", range(12))
def test_no_death_but_a_workers_makes_a_task_run_again(disasters: tuple[str, ...], bundlesize: int, seed: int) -> None:
    """P1 to P3 of the promise."""
    world = World(seed, tasks=TASKS, bundlesize=bundlesize, workers=2, disasters=disasters)

    world.run()

    assert world.store.counts.succeeded == TASKS, f"lost or stuck: {world.store.counts} at {world.now:.1f} s"
    assert dict(world.started) == dict.fromkeys(range(TASKS), 1)
    assert set(world.applied.values()) == {1}


@pytest.mark.parametrize("bundlesize", [1, 7])
@pytest.mark.parametrize("seed", range(25))
def test_a_dead_worker_costs_at_most_what_it_was_running(bundlesize: int, seed: int) -> None:
    """Its successor reports what had finished; only what was running runs again."""
    disasters = ("worker", "broker", "scheduler", "both", "link", "scheduler.after_commit")
    world = World(seed, tasks=TASKS, bundlesize=bundlesize, workers=2, disasters=disasters)

    world.run()

    ended = world.store.counts
    assert ended.succeeded + ended.failed == TASKS, f"lost or stuck: {ended} at {world.now:.1f} s"
    again = sum(times - 1 for times in world.started.values())
    assert again <= 2 * world.workers_killed
    assert set(world.applied.values()) == {1}
