"""Rows about what the kernel can spawn: `sh`, `direct` and `bundle`."""

from tests.bench.bench import Bench
from tests.bench.measure import Timed, rates
from tests.bench.table import Judged, at_least, figures

TASKS = 5_000
"""N of the marginal rates."""

SHELL_LINE = "true"
"""A builtin, so ours goes through `sh -c` as xargs' does."""

DIRECT_LINE = "/bin/true"
"""No shell syntax: ours executes it directly."""


def _ours(bench: Bench, line: str, *options: str, null: bool = False) -> Timed:
    return lambda count: bench.cluster(bench.lines(line, count), "-N2", *options, null=null)


def _xargs(bench: Bench, line: str) -> Timed:
    argv = ("xargs", "-P2", "-d", "\n", "-n1", "sh", "-c")
    return lambda count: bench.timed(*argv, stdin=bench.lines(line, count))


def _loop(bench: Bench, *argv: str) -> Timed:
    return lambda count: bench.timed(bench.compiled("spawn.c"), str(count), "2", *argv)


def sh(bench: Bench) -> list[Judged]:
    """Lines that need a shell, against xargs and against the bare loop."""
    contenders = {
        "hs-cluster -N2": _ours(bench, SHELL_LINE),
        "xargs -P2 sh -c": _xargs(bench, SHELL_LINE),
        "C posix_spawn loop": _loop(bench, "/bin/sh", "-c", SHELL_LINE),
    }
    ours, xargs, loop = (found := rates(contenders, tasks=bench.tasks(TASKS), rounds=bench.rounds)).values()
    return [
        Judged(
            row="sh",
            what="sh lines, defaults, SQLite, -N2, of xargs -P2",
            value=ours.median / xargs.median,
            bar=at_least(1.0),
            aim=f"0.9 x the C loop (is {ours.median / loop.median:.2f})",
            figures=figures(found.values(), "tasks/s"),
        )
    ]


def direct(bench: Bench) -> list[Judged]:
    """Lines without shell syntax, against xargs running the same through sh -c."""
    contenders = {
        "hs-cluster -N2": _ours(bench, DIRECT_LINE),
        "xargs -P2 sh -c": _xargs(bench, DIRECT_LINE),
        "C posix_spawn loop, no shell": _loop(bench, DIRECT_LINE),
    }
    ours, xargs, _ = (found := rates(contenders, tasks=bench.tasks(TASKS), rounds=bench.rounds)).values()
    return [
        Judged(
            row="direct",
            what="shell-free lines, SQLite, of xargs sh -c",
            value=ours.median / xargs.median,
            bar=at_least(1.35),
            aim="1.6",
            figures=figures(found.values(), "tasks/s"),
        )
    ]


def _bundle(bench: Bench, row: str, what: str, *, tasks: int, null: bool) -> Judged:
    contenders = {f"-b {size}": _ours(bench, SHELL_LINE, "-b", str(size), null=null) for size in (1, 10, 100, 1000)}
    found = rates(contenders, tasks=bench.tasks(tasks), rounds=bench.rounds)
    best = max(series.median for series in found.values())
    return Judged(
        row=row,
        what=what,
        value=found["-b 1"].median / best,
        bar=at_least(0.85),
        aim="1",
        figures=figures(found.values(), "tasks/s"),
    )


def bundle(bench: Bench) -> list[Judged]:
    """The default bundle size against the best one."""
    return [_bundle(bench, "bundle", "-b 1 of the best -b, sh lines", tasks=TASKS, null=False)]


def bundle_null(bench: Bench) -> list[Judged]:
    """The same where the kernel's spawning hides nothing: a worker that executes nothing."""
    return [_bundle(bench, "bundle-null", "-b 1 of the best -b, null executor", tasks=10 * TASKS, null=True)]
