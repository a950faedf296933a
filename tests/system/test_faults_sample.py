"""A few trials of each fault campaign; `make faults` conducts them all. A failure names the trial to repeat."""

from dataclasses import replace

import pytest
from tests.faults import endurance
from tests.faults.campaigns import AIMS, CAMPAIGNS, Campaign
from tests.faults.queue_clusters import FAULTS
from tests.faults.run import seed_of
from tests.faults.standing_queue import Size, conduct
from tests.faults.trial import perform, plan

pytestmark = pytest.mark.system

TASKS = 600
UNDISTURBED_S = 1.0
"""Of so many tasks: the moments are drawn from it."""

SEED = 1

SHORT_QUEUE = Size(tasks=4_000, pieces=40, processes=4, calm_max_s=1.0, probes=1, probe_tasks=200)

FEW_BREAKS = endurance.Size(breaks=4, tasks=200, warm_up=2, growth_bytes_max=32 << 20, forgets=False)
"""Too few to tell a leak from what is loaded when something is logged for the first time; `make faults` can."""

LOCKED_S = 2.0
"""Here; `make faults` locks databases for half a minute."""


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_the_promise_holds(campaign: Campaign, number: int) -> None:
    """Nothing lost, nothing recorded or run twice, no wrong status, nothing left behind."""
    trial = perform(
        plan(campaign, seed_of(SEED, campaign, number), shortened_s=LOCKED_S), undisturbed_s=UNDISTURBED_S, tasks=TASKS
    )
    assert trial.verdict.violations == 0, "\n".join([str(trial.plan), *trial.verdict.remarks])


@pytest.mark.parametrize("step", AIMS)
def test_the_promise_holds_at_a_step(step: str) -> None:
    """Whatever start or end is half done when every process is killed: --restart takes it from there, and leaves nothing."""
    (steps,) = (campaign for campaign in CAMPAIGNS if campaign.steps)
    what = replace(plan(steps, seed_of(SEED, steps, 0)), step=step)
    trial = perform(what, undisturbed_s=UNDISTURBED_S)
    assert trial.strikes == 1
    assert trial.verdict.violations == 0, "\n".join([str(trial.plan), *trial.verdict.remarks])


def test_a_standing_queue_outlives_its_clusters() -> None:
    """Four processes submit, each fault happens: every accepted task is run and recorded once."""
    outcome = conduct(SHORT_QUEUE, f"{SEED}/queue")
    assert outcome.wrong == []
    assert set(outcome.faults) == set(FAULTS)
    assert outcome.slowed_to > 0


def test_connections_that_break_leave_nothing_open() -> None:
    """Descriptors and threads of each daemon are what they were, and every task ran once."""
    outcome = endurance.conduct(FEW_BREAKS, f"{SEED}/endurance")
    assert outcome.wrong == []
    assert outcome.breaks == FEW_BREAKS.breaks
