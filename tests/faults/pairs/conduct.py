"""All allowed pairs of options, some dozen runs (`make faults ONLY=pairs`)."""

from collections.abc import Iterator

from tests.faults.home import Home
from tests.faults.pairs.cover import covering
from tests.faults.pairs.judge import judge
from tests.faults.pairs.trial import Trial

SIZE = 8
"""Options in a run: the more, the fewer runs, and the more one may hide of another."""


def try_together(home: Home, options: frozenset[str], seed: str) -> list[str]:
    """Run some options at once in an empty home; return what is wrong, with what was typed."""
    trial = Trial(home, options, seed)
    trial.perform()
    return [f"{' '.join(trial.command)}: {wrong}" for wrong in judge(trial)]


def conduct(seed: str) -> Iterator[list[str]]:
    """Yield for each run what is wrong with it."""
    for options in covering(SIZE, seed):
        with Home() as home:
            yield try_together(home, options, seed)
