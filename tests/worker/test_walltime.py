"""How a batch job finds out when it ends: by variables, and by programs that answer as Slurm's and PBS's do."""

import os
import time
from pathlib import Path

import pytest

from hs_common.errors import RefusedError
from hs_worker.walltime import clock_seconds, end_of_job

NOW = 1_700_000_000.0
QSTAT = """Job Id: 7.server
    Job_Name = STDIN
    Job_Owner = me@server
    resources_used.walltime = 00:00:12
    job_state = R
    Resource_List.ncpus = 1
    Resource_List.walltime = 01:30:00
    stime = Tue Nov 14 22:03:20 2023
    Variable_List = PBS_O_HOME=/home/me,PBS_O_LANG=C
"""
"""As OpenPBS prints it, shortened."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return tmp_path


def says(folder: Path, name: str, text: str, status: int = 0) -> None:
    (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text.rstrip()}\nEND\nexit {status}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("3:04", 184),
        ("02:03:04", 7384),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("", None),
        ("1:", None),
    ],
)
def test_spans_are_read_as_slurm_and_pbs_write_them(text: str, seconds: float | None) -> None:
    assert clock_seconds(text) == seconds


def test_without_a_batch_job_there_is_no_end() -> None:
    assert end_of_job({"HOME": "/"}, NOW) is None


def test_newer_slurm_says_it_in_a_variable() -> None:
    """Then nobody is asked."""
    assert end_of_job({"SLURM_JOB_ID": "5", "SLURM_JOB_END_TIME": "1700000060"}, NOW) == NOW + 60


@pytest.mark.parametrize(
    ("answer", "end"),
    [("1-00:00:01", NOW + 86401), ("0:45", NOW + 45), ("UNLIMITED", None), ("NOT_SET", None), ("", None)],
)
def test_older_slurm_is_asked(programs: Path, answer: str, end: float | None) -> None:
    says(programs, "squeue", answer)

    assert end_of_job({"SLURM_JOB_ID": "5"}, NOW) == end


def test_a_slurm_that_does_not_answer_is_an_error_not_an_end(programs: Path) -> None:
    """The worker says so and runs; its signals still tell it."""
    says(programs, "squeue", "", status=1)

    with pytest.raises(RefusedError, match="squeue: the command failed: exit status 1"):
        end_of_job({"SLURM_JOB_ID": "5"}, NOW)


def test_pbs_counts_from_the_start_of_the_job(programs: Path) -> None:
    says(programs, "qstat", QSTAT)

    assert end_of_job({"PBS_JOBID": "7.server"}, NOW) == NOW - 600 + 5400


def test_a_pbs_job_without_a_limit_has_no_end(programs: Path) -> None:
    says(programs, "qstat", QSTAT.replace("Resource_List.walltime", "Resource_List.cput"))

    assert end_of_job({"PBS_JOBID": "7.server"}, NOW) is None


def test_torque_says_the_limit_in_a_variable(programs: Path) -> None:
    """For when its server is not to be reached from a node."""
    says(programs, "qstat", "", status=1)

    assert end_of_job({"PBS_JOBID": "7", "PBS_WALLTIME": "3600"}, NOW) == NOW + 3600
