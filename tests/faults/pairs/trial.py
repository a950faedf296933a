"""One run of hs-cluster with some options at once, and whatever starts come before and after it."""

import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from typing import Any

from tests.faults.home import PROGRAMS, Home
from tests.faults.pairs.cover import VALUES
from tests.faults.pairs.tasks import DONE, End, Note, name_of, read_notes, tasks_for
from tests.faults.processes import ended_within, until
from tests.ports import free_port

from hs_common.values import dataclass
from hs_scheduler.tasks.state import State

RUN_S = 120.0
"""A start that takes longer is stuck."""

FROM_BEFORE = b"from before\n"
"""In each file that an option may name."""

FILES = {"-f": "failures", "--joblog": "joblog", "-o": "output", "-e": "errors"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How one start of hs-cluster went."""

    status: int | None
    out: bytes
    err: bytes
    began: float
    """Seconds since the epoch."""
    interrupted: bool
    """Whether it had to be told to stop."""


class Trial:
    """What is run, and what is left of it.

    Args:
        home: Empty.
        options: First names.
        seed: Decides the values, and whether the input is a FILE or a pipe.

    """

    def __init__(self, home: Home, options: frozenset[str], seed: str) -> None:
        dice = random.Random(f"{seed} {sorted(options)}")
        self.home = home
        self.options = options
        self.values = {option: dice.choice(VALUES[option]) for option in sorted(options) if option in VALUES}
        if "-p" in options:
            self.values["-p"] = str(free_port())
        if "--remote-exe" in options:
            self.values["--remote-exe"] = os.path.join(PROGRAMS, "hs-worker")
        self.continues = bool(options & {"--restart", "--retry-failed"})
        self.piped = not self.continues and "--once" not in options and dice.random() < 0.5
        self.tasks = {task.name: task for task in tasks_for(options)}
        self.attempts_max = 1 + int(self.values.get("-r", 0))
        self.before: dict[str, End] = {}
        """Task -> how it ended in the start before the one that is judged."""
        self.main: Start
        self.again: Start | None = None
        """The one after it."""

    @property
    def command(self) -> list[str]:
        """What is typed."""
        words = ["hs-cluster"]
        for option in sorted(self.options):
            words += [option, self.values[option]] if option in self.values else [option]
        if self.continues:
            return words
        return [*words, *(([] if "--forever" not in self.options else ["-"]) if self.piped else ["tasks"])]

    def perform(self) -> None:
        """Run all of it."""
        text = "".join(f"{task.line}\n" for task in self.tasks.values()).encode()
        self.home.write("tasks", b"# none\n\n" + text)
        for name in FILES.values():
            self.home.write(name, FROM_BEFORE)
        if self.continues:
            self._begin()
        self.main = self._start(self.command, text if self.piped else b"")
        if "--halt" in self.options and not self.options & {"--no-db", "--dry-run"}:
            self.again = self._start(self._going_on(), b"")
        elif "--once" in self.options and "--forever" not in self.options:
            self.again = self._start(self.command, b"")

    def expected(self) -> dict[str, list[End]]:
        """Return how the attempts of each task end, in turn."""
        found = {}
        for name, task in self.tasks.items():
            if name not in self.before:
                found[name] = list(task.attempts(self.attempts_max))
            elif self.before[name] == DONE or "--restart" in self.options:
                found[name] = [self.before[name]]
            else:  # once more, or as often as -r says by now
                found[name] = list(task.attempts(max(2, self.attempts_max)))
        return found

    def expected_here(self) -> list[tuple[str, int]]:
        """Return the attempts that are not of the start before, by task, in the order of the input."""
        return [
            (name, number)
            for name, ends in self.expected().items()
            for number in range(2 if name in self.before else 1, len(ends) + 1)
        ]

    def failed(self) -> list[str]:
        """Return the tasks that fail for good."""
        return [name for name, ends in self.expected().items() if ends[-1] != DONE]

    def notes(self) -> list[Note]:
        """Return what the tasks noted, but for the start before."""
        return read_notes(self.home.read("ledger"))

    def rows(self) -> list[dict[str, Any]]:
        """Return what was recorded."""
        named = "own.db" if "--database" in self.options else "site/latest/tasks.db"
        with closing(sqlite3.connect(f"file:{self.home.path(named)}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            found = map(dict, db.execute("SELECT * FROM task ORDER BY row"))
            return [row | {"name": name_of(os.fsdecode(row["args"]))} for row in found]

    def _begin(self) -> None:
        """Make what the judged start continues: a run that was stopped, or one that has failed tasks."""
        self.home.write("stop" if "--restart" in self.options else "gone on", b"")
        named = ["--database", "own.db"] if "--database" in self.options else []
        script = 'echo $$ >pid; exec hs-cluster "$@"'
        self.home.run("sh", "-c", script, "sh", *named, "tasks", seconds=RUN_S)
        done = [row for row in self.rows() if row["state"] == State.DONE]
        self.before = {row["name"]: (row["exit_status"], row["reason"]) for row in done}
        self.home.write("ledger", b"")

    def _going_on(self) -> list[str]:
        """Return what is typed to finish a run that was halted."""
        if self.continues:  # what it was told itself holds for it alone
            again = {self.values["--halt"]: "100%", "--retry-failed": "--restart"}
            return [again.get(word, word) for word in self.command]
        named = ["--database", "own.db"] if "--database" in self.options else []
        return ["hs-cluster", "--restart", "--halt", "100%", *named]

    def _start(self, command: list[str], text: bytes) -> Start:
        began = time.time()
        with open(self.home.path("stdout"), "wb") as out, open(self.home.path("stderr"), "wb") as err:
            process = self.home.start(*command, stdin=subprocess.PIPE, stdout=out, stderr=err)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(text)
                process.stdin.close()
            process.stdin = None
            stays = "--forever" in command and until(lambda: self._idle() or process.poll() is not None, RUN_S)
            interrupted = bool(stays) and process.poll() is None
            if interrupted:
                process.send_signal(signal.SIGINT)
            ended_within(process.pid, RUN_S)
        return Start(
            status=process.poll(),
            out=self.home.read("stdout"),
            err=self.home.read("stderr"),
            began=began,
            interrupted=interrupted,
        )

    def _idle(self) -> bool:
        """Whether all that is expected is recorded."""
        with suppress(sqlite3.Error):
            ended: int = sum(row["state"] == State.DONE for row in self.rows())
            return ended >= sum(map(len, self.expected().values()))
        return False


def own_lines(err: bytes) -> list[str]:
    """Return what hs-cluster says, without the tasks' lines."""
    return [line for line in err.decode().splitlines() if not re.fullmatch(r"\w+\.\d+ errs", line)]
