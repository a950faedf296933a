"""What the daemons ask of the kernel's scheduler, seen from a process of its own."""

import os
import subprocess
import sys


def said(code: str) -> str:
    """Return what a fresh process prints."""
    lines = "import os; from hs_common.priority import *; " + code
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=True).stdout


POLICY = "print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.nice(0), flush=True)"
NICE = os.nice(0)
"""Of whoever runs the tests."""

CHILD = f"os.fork() or ({POLICY}, os._exit(0)); os.wait()"


def test_a_daemon_that_serves_is_batch() -> None:
    """It never preempts a task when it wakes."""
    assert said(f"yield_to_tasks(); {POLICY}") == f"3 {NICE}\n"


def test_what_a_worker_starts_has_the_policy_and_the_nice_value_of_its_user() -> None:
    """A short slice is the worker's own."""
    assert said(f"os.nice(5); wake_promptly(); {CHILD}") == f"0 {min(19, NICE + 5)}\n"


def test_a_policy_that_the_user_chose_is_left_alone() -> None:
    """Somebody who starts us with `chrt --idle` means it, for the tasks too."""
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); "
    assert said(f"{idle} yield_to_tasks(); wake_promptly(); {POLICY}") == f"5 {NICE}\n"
    assert said(f"{idle} wake_promptly(); {CHILD}") == f"5 {NICE}\n"
