"""Settings and the log in whole runs: what is set is done, looked up once, and told once."""

import json
import os
import re
import signal
from collections import Counter

import pytest
from tests.faults.home import Home
from tests.faults.processes import children, until

pytestmark = pytest.mark.system


def configure(home: Home, text: str) -> str:
    """Write the settings of the home; return their path."""
    os.makedirs(home.path(".hypershell"), exist_ok=True)
    return home.write(os.path.join(".hypershell", "config.toml"), text.encode())


def events(log: bytes) -> list[str]:
    """Return the events of a log in JSON."""
    return [json.loads(line)["event"] for line in log.splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize(
    ("settings", "line", "out", "said"),
    [
        ("[worker]\nnum_tasks = 3", "true", b"", b"of 3 slots used"),
        ("[worker]\ntemplate = 'echo file-{}'", "x", b"file-x\n", b"1 task, 0 failed"),
        ("[worker]\nshell = 'bash'", "[[ a == a ]] && echo bash", b"bash\n", b"0 failed"),
        ("[worker]\ntask_timeout = 0.2", "sleep 1000", b"", b"1 task, 1 failed"),
        ("[scheduler]\nmax_retries = 2", "false", b"", b"1 failed, 2 retried"),
        ("[scheduler]\nmax_retries_env = 'TRIES'", "false", b"", b"1 failed, 4 retried"),
        ("[worker]\ntemplate_eval = 'echo \"echo ev-{}\"; echo no'", "x", b"ev-x\n", b"0 failed"),
    ],
)
def test_what_a_file_sets_is_done(home: Home, settings: str, line: str, out: bytes, said: bytes) -> None:
    """Whether it is for hs-cluster, the scheduler or the worker."""
    configure(home, settings + "\n")
    done = home.run("hs-cluster", stdin=f"{line}\n".encode(), env={"TRIES": "4"})
    assert done.stdout == out
    assert said in done.stderr


def test_a_database_that_is_set_is_used_unless_there_is_to_be_none(home: Home) -> None:
    """A setting that does not apply is passed over."""
    configure(home, f"[database]\nfile = '{home.path('all.db')}'\n")
    assert home.run("hs-cluster", "--no-db", stdin=b"true\n").returncode == 0
    assert not os.path.exists(home.path("all.db"))
    assert home.run("hs-cluster", stdin=b"true\n").returncode == 0
    assert home.run("hs", "task", "search", "-c").stdout == b"1\n"
    assert os.path.exists(home.path("all.db"))


def test_a_command_runs_once_for_all_daemons(home: Home) -> None:
    """They need the level of the log too, and are told."""
    configure(home, "[logging]\nlevel_eval = 'echo run >> told; echo info'\nformat = 'json'\n")
    done = home.run("hs-cluster", stdin=b"true\n")
    assert "broker.started" in events(done.stderr)
    assert home.read("told") == b"run\n"


def test_an_unknown_name_is_told_once_for_a_command(home: Home) -> None:
    """By name; three daemons and hs-cluster do not each say it, and the run goes on."""
    path = configure(home, "[worker]\nnum_taks = 3\n")
    for command in (("hs-cluster",), ("hs", "task", "search", "-c"), ("hs", "config", "get")):
        done = home.run(
            *command, stdin=b"true\n", env={"HYPERSHELL_NUM_THREADS": "1", "HYPERSHELL_LOGGING_FORMAT": "json"}
        )
        told = [json.loads(line)["what"] for line in done.stderr.splitlines() if line.startswith(b"{")]
        assert (done.returncode, told) == (
            0,
            [f"{path}: unknown setting worker.num_taks", "environment: unknown setting HYPERSHELL_NUM_THREADS"],
        )


@pytest.mark.parametrize(
    ("settings", "env", "why"),
    [
        ("", {"HYPERSHELL_WORKER_NUM_TASKS": "-1"}, "HYPERSHELL_WORKER_NUM_TASKS: worker.num_tasks = '-1' is not in"),
        ("[logging]\nfile = '/no/such/folder/log'", {}, "logging.file /no/such/folder/log: No such file or directory"),
        ("[worker]\nshell = 'no-such-shell'", {}, "config.toml: worker.shell no-such-shell: no such program"),
        (
            "[database]\nfile = '/no/such/folder/x.db'",
            {},
            "config.toml: database.file /no/such/folder/x.db: there is no",
        ),
        (
            "[database]\nurl = 'mysql://me:secret@host/x'",
            {},
            "config.toml: database.url: database mysql://...: is neither a path nor a postgresql:// URL",
        ),
        ("[database]\nurl = 'secret@host/x'", {}, "config.toml: database.url: is no postgresql:// URL"),
        ("[worker]\nshell_eval = 'exit 1'", {}, "config.toml: worker.shell_eval: the command failed: exit status 1"),
        ("[worker", {}, "config.toml: Expected ']'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_the_start(
    home: Home, settings: str, env: dict[str, str], why: str
) -> None:
    """One line that names its place, status 2, nothing started, no secret shown."""
    configure(home, settings + "\n")
    done = home.run("hs-cluster", stdin=b"touch ran\n", env=env)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert why in line
    assert "secret" not in line
    assert not os.path.exists(home.path("ran"))
    assert not os.path.exists(home.site)


def test_tasks_see_what_the_user_set_and_nothing_of_ours(home: Home) -> None:
    """A run inside a task has the user's settings, not those of the run around it."""
    done = home.run("hs-cluster", "-v", stdin=b"env\n", env={"HYPERSHELL_WORKER_NUM_TASKS": "2"})
    ours = {line.partition(b"=")[0] for line in done.stdout.splitlines() if line.startswith(b"HYPERSHELL_")}
    assert ours == {b"HYPERSHELL_SITE", b"HYPERSHELL_WORKER_NUM_TASKS"}


def test_the_log_goes_to_a_file_and_tells_bundles_not_tasks(home: Home) -> None:
    """Every event is noun.participle; 400 tasks in 20 bundles are not 400 lines at level info."""
    env = {"HYPERSHELL_LOGGING_FILE": home.path("log"), "HYPERSHELL_LOGGING_FORMAT": "json"}
    done = home.run("hs-cluster", "-b20", "-N2", "-v", stdin=b"true\n" * 400, env=env)
    assert done.stderr.count(b"\n") == 1, "the summary"

    told = events(home.read("log"))
    assert len(told) == len(home.read("log").splitlines())
    assert "broker.started" in told
    assert [event for event in told if not re.fullmatch(r"[a-z_]+\.[a-z_]+", event)] == []
    assert len(told) <= 20 + 20, Counter(told)


def test_level_debug_has_a_line_for_each_bundle(home: Home) -> None:
    """And one for each message with results, which say of each that it is closed; however many there are in a second."""
    env = {"HYPERSHELL_LOGGING_FILE": home.path("log"), "HYPERSHELL_LOGGING_FORMAT": "json"}
    home.run("hs-cluster", "-b1", "-N2", "-vv", stdin=b"true\n" * 400, env=env)

    told = [json.loads(line) for line in home.read("log").splitlines()]
    assigned = [line for line in told if line["event"] == "bundle.assigned"]
    closed = [bundle for line in told if line["event"] == "result.received" for bundle in line["closed"]]
    assert [line["tasks"] for line in assigned] == [1] * 400
    assert sorted(line["bundle"] for line in assigned) == sorted(closed)
    assert {line["level"] for line in assigned} == {"debug"}


def test_a_log_file_is_set_aside_when_it_is_full(home: Home) -> None:
    """As the settings say: here at the smallest size, and two are kept."""
    env = {
        "HYPERSHELL_LOGGING_FILE": "log",
        "HYPERSHELL_LOGGING_FILE_SIZE": "4K",
        "HYPERSHELL_LOGGING_FILE_COUNT": "2",
        "HYPERSHELL_LOGGING_LEVEL": "info",
    }
    home.write("log", b"x" * 4000 + b"\n")
    home.write("log.1", b"older\n")
    home.write("log.2", b"oldest\n")
    assert home.run("hs-cluster", stdin=b"cd /tmp; true\n", env=env).returncode == 0
    assert (home.read("log.1")[:1], home.read("log.2")) == (b"x", b"older\n")
    assert b"broker.started" in home.read("log.1") + home.read("log")
    assert not os.path.exists(home.path("log.3"))


def test_sigusr2_reopens_the_logs_and_ends_nothing(home: Home) -> None:
    """Told to hs-cluster, it reaches the daemons; they hold on to no file that was moved away."""
    os.mkfifo(home.path("wait"))
    home.write("tasks", b"cat wait\n")
    env = {"HYPERSHELL_LOGGING_FILE": home.path("log"), "HYPERSHELL_LOGGING_LEVEL": "info"}
    run = home.start("hs-cluster", "tasks", env=env)
    assert until(lambda: b"scheduler.attached" in home.read("log") and b"worker.attached" in home.read("log"))

    os.rename(home.path("log"), home.path("old"))
    run.send_signal(signal.SIGUSR2)
    assert until(lambda: os.path.exists(home.path("log")))

    home.write("wait", b"")
    assert run.wait(60) == 0
    assert b"broker.started" in home.read("old")
    assert b"peer.left" in home.read("log")


def test_sigusr2_ends_no_daemon_that_has_only_just_started(home: Home) -> None:
    """They start with it blocked, until they can take it; one that ended would be another process afterwards."""
    os.mkfifo(home.path("wait"))
    home.write("tasks", b"cat wait\n")
    run = home.start("hs-cluster", "tasks")
    assert until(lambda: len(children(run.pid)) == 3, poll_s=0.001)
    before = children(run.pid)
    for pid in before:
        os.kill(pid, signal.SIGUSR2)
    home.write("wait", b"")  # waits until the task reads
    assert children(run.pid) == before
    assert run.wait(60) == 0


def test_hs_config_from_the_command_line(home: Home) -> None:
    """Misuse is one line and status 2, but for the bare command, which explains itself."""
    assert home.run("hs", "config", "set", "worker.num_tasks", "3").returncode == 0
    assert home.run("hs", "config", "get", "worker.num_tasks").stdout == b"3\n"
    assert b".hypershell/config.toml:2\n" in home.run("hs", "config", "which", "worker.num_tasks").stdout
    wrong = home.run("hs", "config", "set", "worker.no_such_key", "3")
    assert (wrong.returncode, wrong.stderr.count(b"\n")) == (2, 1)
    bare = home.run("hs", "config")
    assert bare.returncode == 2
    assert b"\n  edit " in bare.stderr
