"""Kill, stop and crash our daemons in whole runs and count what went wrong (`make faults`).

Or one campaign, or one trial of it again:

    python tests/faults/run.py --only broker,both --trials 300
    python tests/faults/run.py --only broker --seed 20260101 --first 17 --trials 1

Exit status 1 when any trial broke the promise.
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))

from tests.faults import endurance
from tests.faults.campaigns import CAMPAIGNS, Campaign
from tests.faults.many import at_once, in_a_row
from tests.faults.oracle import VIOLATIONS, Verdict
from tests.faults.pairs.conduct import conduct as try_all
from tests.faults.standing_queue import FULL
from tests.faults.standing_queue import conduct as conduct_queue
from tests.faults.trial import TASKS, Trial, perform, plan

TRIALS = 50
SEED = 1

RUNS_IN_A_ROW = 200
RUNS_AT_ONCE = 10

RATE_MIN = 0.9
"""Of `queue`: at its end, against its start."""

UNDISTURBED_S = 3.0
"""Until a first run has shown what it takes here."""


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    names = [campaign.name for campaign in CAMPAIGNS] + ["many", "queue", "endurance", "pairs"]
    parser = argparse.ArgumentParser(description="Disturb whole runs and count broken promises.")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each campaign (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=TASKS, help="of each run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed, the same trials (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial (default: %(default)s)")
    parser.add_argument("--only", default=",".join(names), help=f"comma list of {', '.join(names)} (default: all)")
    parser.add_argument("--runs", type=int, default=RUNS_IN_A_ROW, help="of `many`, in a row (default: %(default)s)")
    asked = parser.parse_args()
    if unknown := set(asked.only.split(",")) - set(names):
        parser.error(f"no such campaign: {', '.join(unknown)}")
    return asked


def seed_of(base: int, campaign: Campaign, number: int) -> str:
    """Return the seed of a trial: the same wherever the campaign stands in the list."""
    return f"{base}/{campaign.name}/{number}"


def conduct(campaign: Campaign, asked: argparse.Namespace) -> list[Trial]:
    """Perform the trials of one campaign, telling at once what went wrong."""
    quiet = CAMPAIGNS[0]
    undisturbed_s = perform(plan(quiet, "undisturbed"), undisturbed_s=UNDISTURBED_S, tasks=asked.tasks).seconds
    trials = []
    for number in range(asked.first, asked.first + asked.trials):
        what = plan(campaign, seed_of(asked.seed, campaign, number))
        trial = perform(what, undisturbed_s=undisturbed_s, tasks=asked.tasks)
        trials.append(trial)
        if trial.verdict.violations:
            print(f"{campaign.name} --seed {asked.seed} --first {number}: {_counts(trial.verdict)}", file=sys.stderr)
            print(f"  {what}", *trial.verdict.remarks, sep="\n  ", file=sys.stderr, flush=True)
    return trials


def line(campaign: Campaign, trials: list[Trial]) -> str:
    """Return the row of the table of one campaign."""
    total = {name: sum(getattr(trial.verdict, name) for trial in trials) for name in VIOLATIONS}
    seconds = sorted(trial.seconds for trial in trials)
    cells = [f"{total[name]:>{len(name)}}" for name in VIOLATIONS]
    strikes = sum(trial.strikes for trial in trials)
    reruns = sum(trial.verdict.reruns for trial in trials)
    median = seconds[len(seconds) // 2]
    return (
        f"{campaign.name:16} {len(trials):6} {strikes:7} {' '.join(cells)} {reruns:6} {median:8.1f}  {campaign.about}"
    )


def main() -> int:
    """Conduct the campaigns, print the table."""
    asked = arguments()
    chosen = asked.only.split(",")
    print(f"seed {asked.seed}, {asked.tasks} tasks a run")
    print(f"{'campaign':16} trials strikes {' '.join(VIOLATIONS)} reruns median_s  what", flush=True)
    broken = 0
    for campaign in CAMPAIGNS:
        if campaign.name in chosen:
            trials = conduct(campaign, asked)
            print(line(campaign, trials), flush=True)
            broken += sum(trial.verdict.violations for trial in trials)
    if "many" in chosen:
        begin = time.monotonic()
        wrong = [*in_a_row(asked.runs), *at_once(RUNS_AT_ONCE)]
        print(
            f"many: {asked.runs} runs in a row, {RUNS_AT_ONCE} at once: {len(wrong)} wrong, {time.monotonic() - begin:.0f} s"
        )
        print(*wrong, sep="\n")
        broken += len(wrong)
    if "queue" in chosen:
        outcome = conduct_queue(FULL, f"{asked.seed}/queue")
        print(outcome, *outcome.wrong, sep="\n", flush=True)
        broken += len(outcome.wrong) + (outcome.slowed_to < RATE_MIN)
    if "endurance" in chosen:
        endured = endurance.conduct(endurance.FULL, f"{asked.seed}/endurance")
        print(endured, *endured.wrong, sep="\n", flush=True)
        broken += len(endured.wrong)
    if "pairs" in chosen:
        tried = [*try_all(f"{asked.seed}/pairs")]
        print(f"pairs: {len(tried)} runs with options together: {sum(map(bool, tried))} wrong")
        print(*(wrong for run in tried for wrong in run), sep="\n", flush=True)
        broken += sum(map(bool, tried))
    print(f"{broken} violations")
    return 1 if broken else 0


def _counts(verdict: Verdict) -> str:
    return ", ".join(f"{name} {getattr(verdict, name)}" for name in VIOLATIONS if getattr(verdict, name))


if __name__ == "__main__":
    sys.exit(main())
