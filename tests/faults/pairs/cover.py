"""Which options of hs-cluster go into one run, so that each allowed pair of them is in one: a few dozen runs, not a thousand."""

import random
from itertools import combinations

import click

from hs_deploy.cli import cluster
from hs_deploy.options import EXCLUSIONS

VALUES = {
    "-N": ("2", "3", "0"),
    "-t": ("TEMPLATED=yes; {}",),
    "--shell": ("/bin/bash", "bash"),
    "-b": ("3", "100"),
    "-w": ("0", "0.1", "7"),
    "-r": ("1",),
    "-f": ("failures",),
    "--joblog": ("joblog",),
    "-o": ("output",),
    "-e": ("errors",),
    "-W": ("2",),
    "-S": ("0.2",),
    "--cores": ("1",),
    "--memory": ("1M",),
    "--walltime": ("100000",),
    "--halt": ("01", "now,1", "10%"),
    "--database": ("own.db",),
    "-H": ("127.0.0.1",),
    "-p": ("a free one",),
    "--launcher": ("env",),
    "--remote-exe": ("hs-worker",),
    "-d": ("0.5", "-0.5"),
}
"""Option -> values, of which each run takes one."""

NEEDS = {"--eager": "-r", "--remote-exe": "--launcher"}
"""Option -> one without which it is refused."""

LEFT_OUT = {
    "-V": "prints, and runs nothing",
    "--mpi": "another launcher",
    **dict.fromkeys(("--ssh", "--ssh-group", "--ssh-args", "--ssh-tunnel", "-E"), "needs a server"),
    **dict.fromkeys(("-A", "-F", "-P", "-I", "-X", "-Y", "-T"), "a cluster whose workers come and go by the clock"),
}
"""Option -> why it is in none of these runs."""

HIDES = ("--dry-run", "--halt")
"""With one of these little is seen of the others: it makes no pair of two others."""


def parameters() -> dict[str, click.Option]:
    """Return each option that can be in a run, by the name that comes first in its help."""
    found = [option for option in cluster.params if isinstance(option, click.Option) and not option.hidden]
    return {option.opts[0]: option for option in found if option.opts[0] not in LEFT_OUT}


def together(options: frozenset[str]) -> bool:
    """Return whether these can be typed at once."""
    names = {parameter.name for option, parameter in parameters().items() if option in options}
    # What goes on has no input; both ways to do so would be one.
    names |= set() if names & {"restart", "retry_failed"} else {"file"}
    pairs = [(one, other) for one, others in EXCLUSIONS.items() for other in others]
    return not any({one, other} <= names for one, other in [*pairs, ("restart", "retry_failed")])


def completed(options: frozenset[str]) -> frozenset[str]:
    """Return them with what they need."""
    return options | {NEEDS[option] for option in options if option in NEEDS}


def pairs_of(options: frozenset[str]) -> set[frozenset[str]]:
    """Return the pairs of which a run with these shows something."""
    hiding = options & {*HIDES}
    pairs = map(frozenset, combinations(sorted(options), 2))
    return {pair for pair in pairs if hiding <= pair}


def allowed() -> set[frozenset[str]]:
    """Return each pair of options that can be typed at once."""
    pairs = map(frozenset, combinations(parameters(), 2))
    return {pair for pair in pairs if together(completed(pair))}


def covering(size: int, seed: str) -> list[frozenset[str]]:
    """Return sets of about `size` options in which each allowed pair is, the one with the most first."""
    dice, left, sets = random.Random(seed), allowed(), []
    while left:
        chosen = completed(frozenset(dice.choice(sorted(map(sorted, left)))))
        while len(chosen) < size:
            larger = [completed(chosen | {option}) for option in dice.sample([*parameters()], len(parameters()))]
            best = max(filter(together, larger), key=lambda options: len(pairs_of(options) & left))
            if len(pairs_of(best) & left) <= len(pairs_of(chosen) & left):
                break
            chosen = best
        left -= pairs_of(chosen)
        sets.append(chosen)
    return sets
