"""Judges a run by what its tasks wrote themselves, against what the database says. Pure.

Task i writes "i dispatch pid start" and "i dispatch pid end" to the ledger, one write(2) each, and exits with i mod 7.

Source: RELIABILITY 8.1. A run passes when every count is zero, but for what its campaign allows (`Allowance`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MODULUS = 7
"""Task i ends with exit status i mod 7."""

ENDS = frozenset({"DONE", "CANCELLED", "QUARANTINED", "REJECTED"})


class Entry(NamedTuple):
    """A line of the ledger; their order is the order of the writes."""

    task: int
    dispatch: int
    pid: int
    kind: str
    """start or end."""


class Row(NamedTuple):
    """A row of the database, as `hs task search` prints it."""

    task: int
    state: str
    exit_status: int | None
    dispatch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a campaign may cost."""

    reruns_max: int
    """Tasks that may start again: the slots of a worker that died, times its deaths."""
    finishes: bool
    """Whether every task must have ended (not after hs-cluster itself was killed)."""
    overlaps_max: int = 0
    """Tasks that may run while another execution of them is still to end: of a worker that nobody reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a run left."""

    tasks: int
    """Lines of its input: tasks 0 to tasks - 1."""
    ledger: Sequence[Entry]
    rows: Sequence[Row] | None
    """None without a database: then the ledger and the files must do."""
    applied: Mapping[int, int]
    """How often the row of a task reached an end (the audit trigger); empty when there is none."""
    failures: Sequence[bytes] | None
    """Lines of the file of `-f`, or None."""
    exit_status: int | None
    """Of hs-cluster; None: it did not end in time."""
    leftovers: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """How often each rule was broken."""

    stuck: int = 0
    """The run did not end, or ended with a task not in an end state."""
    lost: int = 0
    """Tasks of the input that no row knows, or that no execution finished."""
    phantom: int = 0
    """Rows of tasks that are not in the input."""
    recorded_twice: int = 0
    """Ends reached beyond the first, and rows beyond one a task."""
    run_twice: int = 0
    """Starts beyond the first, beyond what is allowed."""
    overlapped: int = 0
    """A task started while another execution of it was still to end, beyond what is allowed."""
    wrong: int = 0
    """Recorded with another exit status than it had, or a wrong status of the whole run."""
    fabricated: int = 0
    """Recorded as DONE, with no end in the ledger."""
    failures_wrong: int = 0
    """Failed tasks missing in the file of `-f`, or there twice or without reason."""
    leftovers: int = 0
    reruns: int = 0
    """Starts beyond the first, in all: no violation by itself."""
    remarks: list[str] = field(default_factory=list)
    """What was seen, for people; bounded."""

    @property
    def violations(self) -> int:
        """All that must be zero."""
        return sum(getattr(self, name) for name in VIOLATIONS)


VIOLATIONS = (
    "stuck",
    "lost",
    "phantom",
    "recorded_twice",
    "run_twice",
    "overlapped",
    "wrong",
    "fabricated",
    "failures_wrong",
    "leftovers",
)

REMARKS_MAX = 20
"""Of one verdict: enough to see the pattern."""


def expected_status(task: int) -> int:
    """Return the exit status that task i must have."""
    return task % MODULUS


def read_ledger(text: bytes) -> list[Entry]:
    """Return the entries of a ledger, torn lines left out: a killed shell writes none, a full disk might."""
    entries = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and words[3] in (b"start", b"end"):
            entries.append(Entry(int(words[0]), int(words[1]), int(words[2]), words[3].decode()))
    return entries


def judge(evidence: Evidence, allowance: Allowance) -> Verdict:
    """Return how often a run broke each rule."""
    verdict = Verdict(remarks=[f"left: {what}" for what in evidence.leftovers][:REMARKS_MAX])
    verdict.leftovers = len(evidence.leftovers)
    ended = {entry.task for entry in evidence.ledger if entry.kind == "end"}
    _judge_executions(evidence, allowance, verdict)
    if evidence.rows is not None:
        _judge_rows(evidence.rows, evidence, ended, allowance, verdict)
    if allowance.finishes:
        _judge_end(evidence, ended, verdict)
    return verdict


def _judge_executions(evidence: Evidence, allowance: Allowance, verdict: Verdict) -> None:
    starts = Counter(entry.task for entry in evidence.ledger if entry.kind == "start")
    verdict.reruns = sum(starts.values()) - len(starts)
    verdict.run_twice = max(0, verdict.reruns - allowance.reruns_max)
    if verdict.run_twice:
        _remark(verdict, "started again", (task for task, count in starts.items() if count > 1))
    verdict.overlapped = max(0, _overlaps(evidence.ledger) - allowance.overlaps_max)
    foreign = {entry.task for entry in evidence.ledger if not 0 <= entry.task < evidence.tasks}
    verdict.phantom += len(foreign)


def _overlaps(ledger: Sequence[Entry]) -> int:
    """Count starts between the start and the end of another execution of the same task (one that was killed has no end)."""
    spans: dict[int, dict[tuple[int, int], list[int]]] = defaultdict(dict)
    for place, entry in enumerate(ledger):
        spans[entry.task].setdefault((entry.dispatch, entry.pid), []).append(place)
    return sum(
        one[0] < other[0] < one[1]
        for executions in spans.values()
        if len(executions) > 1
        for one in executions.values()
        if len(one) == 2
        for other in executions.values()
    )


def _judge_rows(
    rows: Sequence[Row], evidence: Evidence, ended: set[int], allowance: Allowance, verdict: Verdict
) -> None:
    counts = Counter(row.task for row in rows)
    verdict.phantom += sum(not 0 <= task < evidence.tasks for task in counts)
    verdict.recorded_twice = sum(count - 1 for count in counts.values())
    verdict.recorded_twice += sum(max(0, count - 1) for count in evidence.applied.values())
    done = [row for row in rows if row.state == "DONE"]
    wrong = [row.task for row in done if row.exit_status != expected_status(row.task)]
    fabricated = [row.task for row in done if row.task not in ended]
    verdict.wrong += len(wrong)
    verdict.fabricated = len(fabricated)
    _remark(verdict, "wrong exit status", wrong)
    _remark(verdict, "recorded but never ended", fabricated)
    dispatched = {entry.task: entry.dispatch for entry in evidence.ledger}
    behind = [row.task for row in rows if row.dispatch < dispatched.get(row.task, 0)]
    verdict.wrong += len(behind)
    _remark(verdict, "ran under a dispatch that the store never gave", behind)
    if allowance.finishes:
        unknown = set(range(evidence.tasks)) - set(counts)
        unfinished = [row.task for row in rows if row.state not in ENDS]
        unexpected = [row.task for row in rows if row.state in ENDS and row.state != "DONE"]
        verdict.lost += len(unknown)
        verdict.stuck += len(unfinished)
        verdict.wrong += len(unexpected)
        _remark(verdict, "not in the database", unknown)
        _remark(verdict, "not finished", unfinished)
        _remark(verdict, "neither done nor failed", unexpected)


def _judge_end(evidence: Evidence, ended: set[int], verdict: Verdict) -> None:
    never = set(range(evidence.tasks)) - ended
    verdict.lost += len(never)
    _remark(verdict, "never ended", never)
    failed = {task for task in range(evidence.tasks) if expected_status(task)}
    if evidence.exit_status is None:
        verdict.stuck += 1
        verdict.remarks.append("hs-cluster did not end")
    elif evidence.exit_status != (1 if failed else 0):
        verdict.wrong += 1
        verdict.remarks.append(f"hs-cluster ended with status {evidence.exit_status}")
    if evidence.failures is not None:
        written = Counter(evidence.failures)
        asked = Counter(b"%d" % task for task in failed)
        amiss = (written - asked) + (asked - written)
        verdict.failures_wrong = amiss.total()
        _remark(verdict, "missing or too often in -f", (key.decode(errors="replace") for key in amiss))


def _remark(verdict: Verdict, what: str, tasks: Iterable[object]) -> None:
    named = [str(task) for task in tasks]
    if named and len(verdict.remarks) < REMARKS_MAX:
        shown = " ".join(named[:10])
        verdict.remarks.append(f"{what}: {shown}{' ...' if len(named) > 10 else ''} ({len(named)})")
