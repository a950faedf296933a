"""Times contenders in interleaved rounds, so that what else the machine does meets all of them alike.

A rate is marginal: tasks / (time for 2N less time for N). So start-up, which has a bar of its own, drops out.
"""

import os
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

T = TypeVar("T")

Timed = Callable[[int], float]
"""Does so many tasks and returns the seconds it took, start to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One figure of one contender, measured once a round."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that is judged."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a part of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


def rates(contenders: Mapping[str, Timed], *, tasks: int, rounds: int) -> dict[str, Series]:
    """Return the marginal rate of each contender, tasks/s."""

    def named(name: str, size: str) -> str:
        return f"{name}, {size}"

    sizes = {"N": tasks, "2N": 2 * tasks}
    sized = {named(name, size): (timed, n) for name, timed in contenders.items() for size, n in sizes.items()}
    seconds = measured(sized, lambda one: one[0](one[1]), rounds=rounds)
    found = {}
    for name in contenders:
        # Against the median of the short runs: the difference of two noisy times of one round may be anything.
        small_s, large = seconds[named(name, "N")].median, seconds[named(name, "2N")].values
        found[name] = Series(name=name, values=tuple(tasks / max(one - small_s, 0.1 * one) for one in large))
    return found


def measured(contenders: Mapping[str, T], once: Callable[[T], float], *, rounds: int) -> dict[str, Series]:
    """Return `once(contender)` of each contender and round; each round begins with another contender."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in rotated(list(contenders), number):
            values[name].append(once(contenders[name]))
            print(f"  round {number + 1}/{rounds} {name}: {values[name][-1]:,.4g}", file=sys.stderr, flush=True)
    return {name: Series(name=name, values=tuple(found)) for name, found in values.items()}


def rotated(names: Sequence[str], by: int) -> Iterable[str]:
    """Return the names from place `by` on, round to the one before it."""
    return islice(cycle(names), by % len(names), by % len(names) + len(names))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that `part` (0..1) of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used, by the scheduler's own count."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9
