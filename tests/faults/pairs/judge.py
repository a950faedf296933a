"""What each option must show in a run, whatever else is asked for, and what every run must."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator

from tests.faults.pairs.tasks import STOPPED, name_of, said
from tests.faults.pairs.trial import FILES, FROM_BEFORE, Trial, own_lines

from hs_scheduler.tasks.state import State


def judge(trial: Trial) -> list[str]:
    """Return what is wrong with a trial that was performed."""
    if "--dry-run" in trial.options:
        return [*_nothing_happened(trial)]
    checks = [*ALWAYS, *(check for option, check in OBSERVED.items() if option in trial.options)]
    return [wrong for check in checks for wrong in check(trial)]


def _nothing_happened(trial: Trial) -> Iterator[str]:
    lines = [task.args for task in trial.tasks.values()]
    if trial.main.out.decode().splitlines() != [trial.values.get("-t", "{}").replace("{}", line) for line in lines]:
        yield f"--dry-run printed {trial.main.out!r}"
    if trial.main.status or trial.main.err or trial.notes():
        yield f"--dry-run: status {trial.main.status}, {trial.main.err!r}"
    made = {name for name in os.listdir(trial.home.folder) if name.endswith(".db") or name == "site"}
    touched = [name for name in FILES.values() if trial.home.read(name) != FROM_BEFORE]
    if made or touched:
        yield f"--dry-run made {made}, touched {touched}"


def _ran_once_each(trial: Trial) -> Iterator[str]:
    ran = Counter(note.key for note in trial.notes() if note.what == "start")
    wanted = Counter(trial.expected_here())
    if "--halt" in trial.options:  # what it stopped runs again, or not where nothing is recorded
        ran = Counter(dict.fromkeys(ran, 1))
        wanted = ran if "--no-db" in trial.options else wanted
    if ran != wanted:
        yield f"ran too often {ran - wanted}, not {wanted - ran}"


def _ended_as_it_should(trial: Trial) -> Iterator[str]:
    status = 130 if trial.main.interrupted else 1
    last = trial.again or trial.main
    if trial.main.status != status:
        yield f"status {trial.main.status} instead of {status}: {trial.main.err!r}"
    if last is trial.again and last.status not in (0, 1):
        yield f"the start after it: status {last.status}: {last.err!r}"
    if left := trial.home.leftovers():
        yield f"left over: {left}"


def _recorded(trial: Trial) -> Iterator[str]:
    if "--no-db" in trial.options:
        if found := [name for _, _, names in os.walk(trial.home.folder) for name in names if name.endswith(".db")]:
            yield f"--no-db made {found}"
        return
    rows = trial.rows()
    ended = Counter((row["name"], row["attempt"], row["exit_status"], row["reason"]) for row in rows)
    expected = trial.expected().items()
    wanted = Counter((name, number, *end) for name, ends in expected for number, end in enumerate(ends, 1))
    if ended != wanted or any(row["state"] != State.DONE for row in rows):
        yield f"recorded too much {ended - wanted}, too little {wanted - ended}"
    for row in rows:
        task = trial.tasks[row["name"]]
        if (row["timeout"] == 1) != ("timeout:1" in task.tags) or ("color" in (row["tag"] or "")) != (
            "color" in task.tags
        ):
            yield f"{task.name}: tags {row['tag']}, timeout {row['timeout']}"
        if (row["attempt"] > 1) != (row["previous"] is not None):
            yield f"{task.name}: attempt {row['attempt']} is linked to {row['previous']}"


def _printed(trial: Trial) -> Iterator[str]:
    """Each stream has what the tasks said, where it was asked for, and nothing else but our own words on stderr."""
    keys = [] if "-c" in trial.options else trial.expected_here()
    if "-k" in trial.options:
        keys = [key for key in keys if key[1] == len(trial.expected()[key[0]])]
    starts = [trial.main, trial.again] if trial.again is not None else [trial.main]
    for stream, option, printed in (
        ("stdout", "-o", [start.out for start in starts]),
        ("stderr", "-e", [start.err for start in starts]),
    ):
        lines = b"".join(printed).decode().splitlines()
        ours = own_lines(b"".join(printed)) if stream == "stderr" else []
        if option in trial.options:
            if lines != ours:
                yield f"{option}: {stream} has {lines}"
            lines, ours = trial.home.read(FILES[option]).decode().splitlines(), []
            if trial.continues or "--once" in trial.options:
                lines = lines[1:]
        lines = [line for line in lines if line not in ours and not line.startswith(STOPPED)]
        wanted = said([key for key in keys if key[0] not in STOPPED])[stream]
        if "--halt" in trial.options:  # nobody knows what was stopped, and how much it had said
            continue
        if Counter(lines) != Counter(wanted):
            yield f"{stream} is {lines} instead of {wanted}"
        if "-k" in trial.options and lines != wanted:
            yield f"-k: {stream} is {lines}"
        if "--group-output" in trial.options and stream == "stdout":
            begins, ends = lines[::2], lines[1::2]
            if [line.split()[0] for line in begins] != [line.split()[0] for line in ends]:
                yield f"--group-output: stdout is {lines}"
    for option, name in FILES.items():
        if option not in trial.options and trial.home.read(name) != FROM_BEFORE:
            yield f"{name} was touched without {option}"


def _summed_up(trial: Trial) -> Iterator[str]:
    summaries = [line for line in own_lines(trial.main.err) if re.match(r"hs-cluster: \d+ tasks?, ", line)]
    if "-q" in trial.options or "--halt" in trial.options:
        if "-q" in trial.options and summaries:
            yield f"-q: {summaries}"
        return
    ends = trial.expected().values()
    wanted = f"hs-cluster: {len(ends)} tasks, {len(trial.failed())} failed, {sum(map(len, ends)) - len(ends)} retried, "
    if len(summaries) != 1 or not summaries[0].startswith(wanted):
        yield f"summary {summaries} instead of {wanted}"


def _no_more_at_a_time(trial: Trial) -> Iterator[str]:
    slots = int(trial.values.get("-N", 1)) or len(os.sched_getaffinity(0))
    running: set[tuple[str, int]] = set()
    for note in trial.notes():
        running = running | {note.key} if note.what == "start" else running - {note.key}
        known = [key for key in running if key[0] not in STOPPED]
        if not 1 <= note.slot <= slots or ("--halt" not in trial.options and len(known) > slots):
            yield f"of {slots} slots: {note}, beside it {known}"
        if trial.options & {"--cores", "--memory"} and sum(name.startswith("cored") for name, _ in known) > 1:
            yield f"do not fit together: {known}"


def _expanded(trial: Trial) -> Iterator[str]:
    bash, template = "bash" * ("--shell" in trial.options), "yes" * ("-t" in trial.options)
    if any((note.shell, note.template) != (bash, template) for note in trial.notes()):
        yield f"--shell, -t: {trial.notes()}"


def _failures(trial: Trial) -> Iterator[str]:
    lines = trial.home.read("failures").decode().splitlines()
    wanted = [trial.tasks[name] for name in trial.failed()]
    if "--no-db" in trial.options and "--halt" in trial.options:
        return
    if Counter(map(name_of, lines)) != Counter(task.name for task in wanted):
        yield f"-f: {lines}"
    if any(not any(line.startswith(task.args) for line in lines) for task in wanted):
        yield f"-f: cannot be run again: {lines}"


def _job_log(trial: Trial) -> Iterator[str]:
    lines = [line.split("\t") for line in trial.home.read("joblog").decode().splitlines()[1:]]
    got = Counter((name_of(line[8]), int(line[1]), int(line[5]), line[7] or None) for line in lines)
    expected = trial.expected().items()
    wanted = Counter((name, number, *end) for name, ends in expected for number, end in enumerate(ends, 1))
    if got != wanted and "--halt" not in trial.options:
        yield f"--joblog: {got - wanted} too much, {wanted - got} too little"


def _captured(trial: Trial) -> Iterator[str]:
    for row in trial.rows() if "--no-db" not in trial.options else []:
        key = row["name"], row["attempt"]
        if key in trial.expected_here() and "--halt" not in trial.options:
            for stream, path in (("stdout", row["outpath"]), ("stderr", row["errpath"])):
                lines = trial.home.read(os.fsdecode(path or b"none")).decode().splitlines()
                if key[0] not in STOPPED and lines != said([key])[stream]:
                    yield f"-c: {path} has {lines}"


def _retries_last(trial: Trial) -> Iterator[str]:
    keys = [note.key for note in trial.notes() if note.what == "start"]
    first, later = ([index for index, key in enumerate(keys) if (key[1] > 1) is again] for again in (False, True))
    # With --eager a retry goes before what nobody holds yet: in so short a run that may be nothing.
    if trial.options & {"-N", "--halt", "--eager"} or not first or not later:
        return
    if later[0] < first[-1]:
        yield f"-r: a retry goes before a new task: {keys}"


def _logged(trial: Trial) -> Iterator[str]:
    if b"broker.started" not in trial.main.err:
        yield f"-v: {trial.main.err!r}"


def _listening(trial: Trial) -> Iterator[str]:
    where = trial.values.get("-p", "")
    if "--launcher" not in trial.options and f"listening on port {where}".encode() not in trial.main.err:
        yield f"-p, -H: {trial.main.err!r}"


def _waited(trial: Trial) -> Iterator[str]:
    began = min(note.at for note in trial.notes()) - trial.main.began
    if began < float(trial.values["-d"]):
        yield f"-d: the first task began after {began} s"


def _halted(trial: Trial) -> Iterator[str]:
    if b"halted, as --halt" not in trial.main.err:
        yield f"--halt: {trial.main.err!r}"


def _nothing_again(trial: Trial) -> Iterator[str]:
    if "--halt" not in trial.options and trial.again is not None and trial.again.out:
        yield f"--once: the second start printed {trial.again.out!r}"


ALWAYS = (_ran_once_each, _ended_as_it_should, _recorded, _printed, _summed_up, _no_more_at_a_time, _expanded)
"""These look at the options themselves; of many nothing else is to be seen."""

OBSERVED: dict[str, Callable[[Trial], Iterator[str]]] = {
    "-f": _failures,
    "--joblog": _job_log,
    "-c": _captured,
    "-r": _retries_last,
    "-v": _logged,
    "-p": _listening,
    "-H": _listening,
    "-d": _waited,
    "--halt": _halted,
    "--once": _nothing_again,
}
"""Option -> what shows what it does."""
