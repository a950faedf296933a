"""Job arrays of workers, and a cluster inside an allocation, on a real Slurm; the script for PBS as far as it can be had."""

import json
import os
import subprocess
from collections import Counter
from itertools import chain
from typing import Any

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, until
from tests.system import secrets
from tests.system.machine import REPOSITORY
from tests.system.slurm import Slurm

pytestmark = pytest.mark.system

STEP_S = 180.0
"""On a machine that has much else to do; usually it is seconds."""
ARRAY = str(REPOSITORY / "deploy/slurm/worker-array.sbatch")
SHORT = {"HYPERSHELL_WORKER_MARGIN": "4"}


@pytest.fixture
def cluster(home: Home) -> Home:
    """A broker and a scheduler that stand by themselves, and know the margin of the workers."""
    home.start("hs-broker", "--name", "main", "-H", "127.0.0.1", env=SHORT)
    assert until(lambda: os.path.exists(home.path("site", "connect", "main", "worker.json")), STEP_S)
    database = ("--database", home.path("db"), "-f", home.path("failed"))
    home.start("hs-scheduler", "--forever", "--connection", "main", *database, env=SHORT)
    assert until(lambda: os.path.exists(home.path("db")), STEP_S)
    return home


def sbatch(slurm: Slurm, home: Home, *words: str) -> str:
    """Submit a batch job in this home; return its id."""
    done = home.run(
        "sbatch", "--parsable", f"--chdir={home.folder}", *words, env=slurm.env | {"PATH": path(slurm, home)} | SHORT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def path(slurm: Slurm, home: Home) -> str:
    return f"{home.env['PATH']}:{slurm.env['PATH']}"


def requeue(slurm: Slurm, job: str) -> None:
    """Put a running job back into the queue, without the two minutes that Slurm lets it wait there."""
    slurm.run("scontrol", "requeue", job)
    assert until(lambda: slurm.run("squeue", "-h", "-j", job, "-o", "%T") == "PENDING", STEP_S), slurm.log()
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")


def submit(home: Home, lines: list[str]) -> None:
    home.write("tasks", "".join(f"{line}\n" for line in lines).encode())
    done = home.run("hs", "submit", "--database", home.path("db"), "-f", "tasks")
    assert done.returncode == 0, done.stderr


def tasks(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        home.run("hs", "task", "search", "--database", home.path("db"), "--json").stdout
    )
    return found


def ended(home: Home) -> int:
    return sum(row["exit_status"] is not None for row in tasks(home))


def marked(count: int, seconds: float, tag: str = "", kind: str = "") -> list[str]:
    """Return tasks that note when they begin and when they end, by a number that `kind` is put before."""
    comment = f" # HYPERSHELL: {tag}" if tag else ""
    return [f"echo {kind}{n} >>begun; sleep {seconds}; echo {kind}{n} >>ended{comment}" for n in range(count)]


def test_an_array_survives_requeue_scancel_and_a_controller_that_restarts(slurm: Slurm, cluster: Home) -> None:
    """Each task succeeds once; only what a killed worker had running may have run twice."""
    # Given three workers, and tasks for some seconds
    job = sbatch(slurm, cluster, "--array=1-3", ARRAY, "main")
    submit(cluster, marked(120, 0.4))
    assert until(lambda: len(cluster.read("ended").split()) >= 5, STEP_S), slurm.log()

    # When one is cancelled, one put back into the queue, and the controller goes away and comes back
    slurm.run("scancel", f"{job}_1")
    requeue(slurm, f"{job}_2")
    slurm.end_controller()
    slurm.start_controller()

    # Then all is done
    assert until(lambda: ended(cluster) == 120, STEP_S), cluster.read(f"hs-worker-{job}_3.log")
    assert Counter(row["exit_status"] for row in tasks(cluster)) == {0: 120}
    finished = Counter(cluster.read("ended").split())
    assert len(finished) == 120
    assert sum(finished.values()) <= 120 + 3
    # And the worker that was put back into the queue came back as a new one
    assert until(lambda: slurm.run("squeue", "-h", "-r", "-o", "%K %T", "-j", job) == "2 RUNNING\n3 RUNNING", STEP_S)


def test_a_worker_whose_job_ends_cuts_no_task_off(slurm: Slurm, cluster: Home) -> None:
    """It learns from Slurm that it has a minute, and uses all of it that fits: for the long ones, then for short ones."""
    submit(cluster, [*marked(8, 20, "timeout:25", "long"), *marked(30, 4, "timeout:9", "short")])

    job = sbatch(slurm, cluster, "--array=1", "--time=1", "--cpus-per-task=2", ARRAY, "main")

    assert until(lambda: cluster.read("ended"), STEP_S), cluster.read(f"hs-worker-{job}_1.log")
    assert until(lambda: slurm.run("squeue", "-h", "-j", job) == "", STEP_S)
    done = cluster.read("ended").split()
    assert sorted(cluster.read("begun").split()) == sorted(done)
    assert {word[:4] for word in done} == {b"long", b"shor"}
    assert {row["exit_status"] for row in tasks(cluster)} == {0, None}
    assert b"its time is over" in cluster.read(f"hs-worker-{job}_1.log")
    assert "COMPLETED" in slurm.run("scontrol", "show", "job", job), "it left by itself, in time"


def test_slurm_is_told_no_key(slurm: Slurm, cluster: Home) -> None:
    """Neither the scripts and environments that it keeps, nor logs, nor any process of a job have one."""
    # Given a task in a worker of a job
    job = sbatch(slurm, cluster, "--array=1", ARRAY, "main")
    submit(cluster, ["env >environment; echo >>begun; until [ -e go ]; do sleep 0.1; done"])
    assert until(lambda: cluster.read("begun"), STEP_S), slurm.log()

    # When we look at everything meanwhile
    files = secrets.kept(cluster)
    told = slurm.run("scontrol", "show", "job", "-dd", job) + slurm.run("scontrol", "write", "batch_script", job, "-")
    written = secrets.written(cluster.folder, slurm.folder)
    seen = secrets.shown() | written | {"scontrol": told.encode()}
    cluster.write("go", b"")
    assert until(lambda: ended(cluster) == 1, STEP_S)

    # Then
    assert {os.path.basename(path) for path in files} >= {"worker.json", "scheduler.json", "control.json", "main.json"}
    assert any(path.endswith("/environment") and f"job.{job}" in path for path in written), "what Slurm keeps was seen"
    assert set(secrets.places(chain(*files.values()), seen)) == set(files)
    assert b"SLURM_STEP" not in cluster.read("environment"), "of the launcher's variables a task gets none"


def test_fifty_elements_at_once_are_no_storm(slurm: Slurm, cluster: Home) -> None:
    """All of them come, work and go; none is turned away."""
    job = sbatch(slurm, cluster, "--array=1-50", ARRAY, "main")
    submit(cluster, [f"echo {n} >>ended" for n in range(500)])

    assert until(lambda: ended(cluster) == 500, STEP_S), slurm.log()
    assert sorted(map(int, cluster.read("ended").split())) == list(range(500))
    logs = b"".join(cluster.read(f"hs-worker-{job}_{n}.log") for n in range(1, 51))
    assert b"refused" not in logs


def test_a_file_in_one_allocation_goes_on_with_the_same_line(slurm: Slurm, home: Home) -> None:
    """Put back into the queue in the middle, it ends with every task done."""
    home.write("tasks", "".join(f"{line}\n" for line in marked(40, 0.5)).encode())

    job = sbatch(slurm, home, str(REPOSITORY / "deploy/slurm/once.sbatch"), "tasks")
    assert until(lambda: len(home.read("ended").split()) >= 3, STEP_S), home.read(f"hs-cluster-{job}.log")
    requeue(slurm, job)

    assert until(lambda: "COMPLETED" in slurm.run("scontrol", "show", "job", job), STEP_S), home.read(
        f"hs-cluster-{job}.log"
    )
    assert set(home.read("ended").split()) == {b"%d" % n for n in range(40)}


def qsub(home: Home, walltime: str) -> "subprocess.Popen[bytes]":
    """Run the script for PBS in the surroundings that a job finds; there is no PBS to be had for tests."""
    os.makedirs(home.path("bin"), exist_ok=True)
    home.write("bin/qstat", f"#!/bin/sh\necho '    Resource_List.walltime = {walltime}'\n".encode())
    os.chmod(home.path("bin", "qstat"), 0o755)
    surroundings = SHORT | {
        "PBS_JOBID": "7[1].server",
        "PBS_O_PATH": f"{home.path('bin')}:{home.env['PATH']}",
        "PBS_O_WORKDIR": home.folder,
        "NCPUS": "2",
        "HYPERSHELL_WORKER_GRACE": "0",
    }
    return home.start("bash", str(REPOSITORY / "deploy/pbs/worker-array.pbs"), env=surroundings)


def test_a_pbs_job_that_is_deleted_gives_back_what_it_ran(cluster: Home) -> None:
    """`qdel` and `qrerun` send SIGTERM; the task costs no attempt, and the element that runs again takes it."""
    # Given an element that runs a task
    submit(cluster, ["echo $$ >>begun; until [ -e go ]; do sleep 0.05; done; echo >>ended"])
    deleted = qsub(cluster, "01:00:00")
    assert until(lambda: cluster.read("begun"), STEP_S)

    # When it is told to end
    deleted.terminate()

    # Then it does, in order, and the next one runs the task from its beginning
    assert ended_within(deleted.pid, STEP_S)
    assert deleted.wait() == 0
    again = qsub(cluster, "01:00:00")
    assert until(lambda: cluster.read("begun").count(b"\n") == 2, STEP_S)
    cluster.write("go", b"")
    assert until(lambda: ended(cluster) == 1, STEP_S)
    assert [(row["exit_status"], row["attempt"], row["dispatch"]) for row in tasks(cluster)] == [(0, 1, 2)]
    assert cluster.read("ended") == b"\n"
    again.terminate()
    assert ended_within(again.pid, STEP_S)


def test_the_script_for_pbs_starts_a_worker_that_knows_its_end(cluster: Home) -> None:
    """It asks `qstat`, and uses of its time what fits."""
    # Given tasks of half a second that may take six
    submit(cluster, marked(60, 0.5, "timeout:6"))

    # When it runs in a job of 16 s, of which it leaves the last four
    job = qsub(cluster, "00:00:16")

    # Then it has cut off none, and ends by itself with status 0
    assert ended_within(job.pid, STEP_S)
    assert job.wait() == 0
    begun = cluster.read("begun").split()
    assert 0 < len(begun) < 60
    assert sorted(begun) == sorted(cluster.read("ended").split())
