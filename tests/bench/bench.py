"""What the rows share: a home for the runs, input files, the peers, and running our own programs."""

import os
import shutil
import subprocess
import sys
import time
from typing import Self

from tests.faults.home import Home
from tests.faults.processes import ended_within

PEERS = os.path.join(os.path.dirname(__file__), "peers")

NULL = {"HYPERSHELL_WORKER_EXECUTOR": "null"}
"""A worker that finds this executes nothing: every task ends with 0 at once."""

SECONDS_MAX = 600.0
"""Of one measured command; then the row fails instead of hanging."""

FREED_S = 65.0
"""An ext4 without a journal passes over each inode that was freed in the last minute before it makes a new file: 40 times slower,
where there are thousands of them."""


class RunError(Exception):
    """A measured command did not do its work: its time would mean nothing."""


class Bench:
    """Where the rows run. `rounds`: of each measurement; `scale`: of all task counts (1.0: as the bars ask)."""

    def __init__(self, *, rounds: int, scale: float) -> None:
        self.rounds = rounds
        self.scale = scale
        self.home = Home()
        self._kept = 0

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the home."""
        self.home.close()

    def tasks(self, count: int) -> int:
        """Return a number of tasks, scaled."""
        return max(10, int(count * self.scale))

    def lines(self, line: str, count: int) -> str:
        """Return the path of a file with so many lines; `{}` in the line becomes its number."""
        path = self.home.path(f"{abs(hash(line)):x}-{count}.txt")
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(f"{line.format(number)}\n" for number in range(count))
        return path

    def compiled(self, source: str) -> str:
        """Return the path of a program of ours in C, compiled once."""
        path = self.home.path(source.removesuffix(".c"))
        if not os.path.exists(path):
            subprocess.run(["gcc", "-O2", "-o", path, os.path.join(PEERS, source)], check=True)
        return path

    def timed(self, *argv: str, stdin: str = os.devnull, null: bool = False) -> float:
        """Run a command with its output thrown away; return the seconds from its start to its end.

        `null`: a worker of ours in it executes nothing.

        Raises:
            RunError: It did not end with status 0, or not in time.

        """
        with open(self.home.path("stderr"), "w+b") as errors, open(stdin, "rb") as given:
            begin = time.perf_counter()
            process = self.home.start(*argv, stdin=given, stderr=errors, env=NULL if null else {})
            # Not Popen.wait with a limit: that looks every 50 ms.
            if not ended_within(process.pid, SECONDS_MAX):
                raise RunError(f"{argv[0]} did not end within {SECONDS_MAX:.0f} s")
            elapsed = time.perf_counter() - begin
            status = process.wait()
            self.home.started.remove(process)
            if status:
                errors.seek(0)
                raise RunError(f"{' '.join(argv)}: status {status}: {errors.read()[-1000:].decode(errors='replace')}")
        return elapsed

    def settle(self) -> None:
        """Wait until what was removed before no longer slows down the making of files (`FREED_S`)."""
        time.sleep(FREED_S)

    def cluster(self, *options: str, stdin: str = os.devnull, null: bool = False, keep: bool = False) -> float:
        """Time a whole hs-cluster with a fresh site; `keep`: remove nothing before the end, where the making of files counts."""
        try:
            return self.timed("hs-cluster", *options, stdin=stdin, null=null)
        finally:
            if keep:
                self._kept += 1
                os.rename(self.home.site, f"{self.home.site}-{self._kept}")
            else:
                shutil.rmtree(self.home.site, ignore_errors=True)

    def peer(self, script: str, *arguments: str) -> float:
        """Time one of the Python scripts of tests/bench/peers."""
        return self.timed(sys.executable, os.path.join(PEERS, script), *arguments)
