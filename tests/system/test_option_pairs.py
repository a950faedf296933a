"""Options of hs-cluster together: some of the runs that have each allowed pair in one of them; all: `make faults ONLY=pairs`."""

import click
import pytest
from tests.faults.home import Home
from tests.faults.pairs.conduct import SIZE, try_together
from tests.faults.pairs.cover import LEFT_OUT, VALUES, allowed, covering, pairs_of, parameters, together
from tests.faults.pairs.judge import judge
from tests.faults.pairs.trial import Trial

from hs_deploy.cli import cluster

pytestmark = pytest.mark.system

SEED = "1"
RUNS = covering(SIZE, SEED)
SAMPLE = RUNS[:4]


def test_no_option_is_missing() -> None:
    """A new one goes into these runs, or is left out for a reason."""
    known = {option.opts[0] for option in cluster.params if isinstance(option, click.Option)}
    taking = {name for name, option in parameters().items() if not option.is_flag and not option.count}

    assert taking == VALUES.keys()
    assert known >= LEFT_OUT.keys()
    assert known == {*LEFT_OUT, *parameters()}


def test_each_allowed_pair_is_in_a_run_that_shows_it() -> None:
    """And no run has options in it that are refused together."""
    assert set().union(*map(pairs_of, RUNS)) >= allowed()
    assert all(map(together, RUNS))
    assert len(RUNS) * 10 < len(allowed())


@pytest.mark.parametrize("options", SAMPLE, ids=lambda options: " ".join(sorted(options)))
def test_options_do_together_what_each_says(home: Home, options: frozenset[str]) -> None:
    """Each shows it, every task is recorded once and as it ended, and nothing is left over."""
    assert try_together(home, options, SEED) == []


def test_what_is_wrong_is_found(home: Home) -> None:
    """In each file that an option names, in the ledger, and where something stays behind."""
    trial = Trial(home, frozenset({"-f", "--joblog", "-o", "-k", "-S"}), SEED)
    trial.perform()
    assert judge(trial) == []

    ledger = home.read("ledger")
    for name in ("failures", "joblog", "output"):
        home.write(name, home.read(name) + home.read(name).splitlines(keepends=True)[-1])
    home.write("ledger", ledger + ledger.splitlines(keepends=True)[-2])
    home.write("tmp/left", b"")

    found = "\n".join(judge(trial))
    assert all(word in found for word in ("-f:", "--joblog:", "-k: stdout", "ran too often", "left over"))
