"""Many runs on one machine and one site: one after the other, and several at once. None may meet another or leave anything."""

import os
import subprocess

from tests.faults.home import Home

TASKS = 50
"""Of each run."""

AT_ONCE_TASKS = 500

SECONDS_MAX = 120.0


def in_a_row(runs: int) -> list[str]:
    """Run hs-cluster so often in one site; return what was wrong, a line each."""
    with Home() as home:
        wrong = []
        for run in range(runs):
            text = "".join(f"echo {run}-{task}\n" for task in range(TASKS))
            done = home.run("hs-cluster", "-N2", stdin=text.encode(), seconds=SECONDS_MAX)
            wrong += _judged(f"run {run}", done.returncode, done.stdout, text, done.stderr)
        return wrong + home.leftovers() + _databases(home, runs)


def at_once(runs: int) -> list[str]:
    """Start so many of them together, two of which also listen on TCP; return what was wrong, a line each."""
    with Home() as home:
        texts = ["".join(f"echo {run}-{task}\n" for task in range(AT_ONCE_TASKS)) for run in range(runs)]
        started = []
        for run, text in enumerate(texts):
            # Two of them ask for a port without naming one: they must not take the same.
            listen = ("-H", "127.0.0.1") if run < 2 else ()
            source = home.write(f"{run}.txt", text.encode())
            with open(home.path(f"{run}.out"), "wb") as out, open(home.path(f"{run}.err"), "wb") as err:
                started.append(home.start("hs-cluster", source, "-N2", *listen, stdout=out, stderr=err))
        wrong = []
        for run, (process, text) in enumerate(zip(started, texts, strict=True)):
            try:
                status = process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                wrong.append(f"run {run} of {runs} at once did not end")
                continue
            wrong += _judged(
                f"run {run} of {runs} at once", status, home.read(f"{run}.out"), text, home.read(f"{run}.err")
            )
        return wrong + home.leftovers() + _databases(home, runs)


def _judged(run: str, status: int, out: bytes, text: str, errors: bytes) -> list[str]:
    expected = sorted(line.removeprefix("echo ") for line in text.splitlines())
    if status == 0 and sorted(out.decode().splitlines()) == expected:
        return []
    return [f"{run}: status {status}, {len(out.splitlines())} lines of output, {errors[-300:]!r}"]


def _databases(home: Home, runs: int) -> list[str]:
    found = len(os.listdir(os.path.join(home.site, "runs")))
    return [] if found == runs else [f"{found} run folders after {runs} runs"]
