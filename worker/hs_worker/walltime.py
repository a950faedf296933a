"""When the time of this worker is over, as its batch system says it.

Slurm   SLURM_JOB_END_TIME, else `squeue -o %L`
PBS     `qstat -f`: Resource_List.walltime since the start of the job; else PBS_WALLTIME (Torque), counted from now

Source: the manuals of sbatch, squeue, qstat; pbs_job_attributes(7B).
"""

import re
import shlex
import time
from collections.abc import Mapping

from hs_common.errors import RefusedError
from hs_common.first_line import printed

ASK_MAX_S = 10.0
"""For a batch system that is busy or down; then the worker runs without an end that it knows."""
_UNLIMITED = frozenset({"UNLIMITED", "NOT_SET", "PARTITION_LIMIT", "INVALID", "N/A"})
_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+)")
_PBS_LINE = re.compile(r"^\s*(Resource_List\.walltime|stime|start_time) = (.*)$", re.MULTILINE)


def end_of_job(environ: Mapping[str, str], now: float) -> float | None:
    """Return when the batch job that we are in ends (seconds since the epoch); None: it has no end, or we are in none.

    Args:
        environ: Of this process.
        now: Wall clock, seconds since the epoch.

    Raises:
        RefusedError: We are in a job, and its end cannot be found out.

    """
    if job := environ.get("SLURM_JOB_ID"):
        return _end_of_slurm(environ, job, now)
    if job := environ.get("PBS_JOBID"):
        return _end_of_pbs(environ, job, now)
    return None


def clock_seconds(text: str) -> float | None:
    """Return the seconds that a span such as 1-02:03:04, 02:03:04, 3:04 or 90 means; None: it is none."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.group("days", "hours", "minutes", "seconds"))
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _end_of_slurm(environ: Mapping[str, str], job: str, now: float) -> float | None:
    if (said := environ.get("SLURM_JOB_END_TIME", "")).isdecimal():
        return float(said)
    command = f"squeue --noheader --jobs={shlex.quote(job)} --format=%L"
    words = printed(command, "squeue", ASK_MAX_S).decode(errors="replace").split()
    if not words or words[0] in _UNLIMITED:
        return None
    left_s = clock_seconds(words[0])
    if left_s is None:
        raise RefusedError(f"squeue says {words[0]!r:.80} of the time that is left to job {job}")
    return now + left_s


def _end_of_pbs(environ: Mapping[str, str], job: str, now: float) -> float | None:
    try:
        found = dict(
            _PBS_LINE.findall(printed(f"qstat -f {shlex.quote(job)}", "qstat", ASK_MAX_S).decode(errors="replace"))
        )
    except RefusedError:
        if (said := environ.get("PBS_WALLTIME", "")).isdecimal():
            return now + float(said)
        raise
    limit_s = clock_seconds(found.get("Resource_List.walltime", ""))
    if limit_s is None:
        return None
    started = found.get("stime") or found.get("start_time", "")
    try:
        # Local time, and in English: that is what C's ctime() prints, and what the tools of PBS print.
        return time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y")) + limit_s
    except ValueError:
        return now + limit_s
