"""What may stand next in a command line: a row for each way that a line is written."""

import click
import pytest

from hs_common.setting import KEYS
from hs_deploy.cli import LAZY, LAZY_TASK, LAZY_WORKER, main
from hs_deploy.commands.config import config
from hs_deploy.completing import Candidate, candidates
from hs_scheduler.tasks.fields import FIELDS

FILES = ["<file>"]
FIELD_NAMES = [field.name for field in FIELDS]


def after(line: str) -> list[str]:
    """Return what may stand at the end of a line; its words have one blank between them."""
    *words, incomplete = line.split(" ")
    return ["<file>" if one.kind == "file" else one.value for one in candidates(main, words, incomplete)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hs ", list(LAZY)),
        ("hyper-shell ", list(LAZY)),
        ("/opt/bin/hs ", list(LAZY)),
        ("hs su", ["submit"]),
        ("hs task ", list(LAZY_TASK)),
        ("hs config ", sorted(config.commands)),
        ("hs nothing ", []),
        ("hs worker ", list(LAZY_WORKER)),
        ("hs worker dr", ["drain"]),
        ("hs worker --cap", ["--capture"]),
        ("hs worker -N 2 --cap", ["--capture"]),
        ("hs worker -N 2 ", []),
        ("hs-worker ", []),
        ("hs -V ta", ["task"]),
        ("hs-cluster ", FILES),
        ("hs cluster ", FILES),
        ("./hs-cluster tasks.txt ", []),
        ("hs-cluster --max-r", ["--max-retries"]),
        ("hs cluster --max-r", ["--max-retries"]),
        ("hs-cluster tasks.txt --max-r", ["--max-retries"]),
        ("hs-cluster -N 8 --max-r", ["--max-retries"]),
        ("hs-cluster -N8 --max-r", ["--max-retries"]),
        ("hs-cluster -N --max-r", ["--max-retries"]),  # the value was forgotten
        ("hs-cluster -d -5 --max-r", ["--max-retries"]),
        ("hs-cluster -vkN 8 --max-r", ["--max-retries"]),
        ("hs-cluster -vkN ", []),
        ("hs-cluster -- --max-r", FILES),
        ("hs-cluster -N ", []),
        ("hs-cluster -f ", FILES),
        ("hs-cluster --failures ", FILES),
        ("hs-cluster --failures=x", FILES),
        ("hs-cluster --failures = x", FILES),  # as bash cuts it
        ("hs-cluster --failures =", FILES),
        ("hs-cluster -A ", ["fixed", "dynamic"]),
        ("hs-cluster --autoscaling=d", ["--autoscaling=dynamic"]),
        ("hs-cluster --not-there ", FILES),
        ("hs-worker --connection ", FILES),
        ("hs submit -- a ", FILES),
        ("hs task search exit", ["exit_status"]),
        ("hs task search id args exit", ["exit_status"]),
        ("hs task search ", FIELD_NAMES),
        ("hs task search -s ", FIELD_NAMES),
        ("hs task search --where du", ["duration"]),
        ("hs task search -f ", ["normal", "plain", "table", "csv", "json"]),
        ("hs task search --format t", ["table"]),
        ("hs task search --format=t", ["--format=table"]),
        ("hs task search --format = t", ["table"]),
        ("hs task search --format =", ["normal", "plain", "table", "csv", "json"]),
        ("hs config get ", list(KEYS)),
        ("hs config set scheduler.e", ["scheduler.eager"]),
        ("hs config set scheduler.eager ", ["true", "false"]),
        ("hs config set --local logging.format j", ["json"]),
        ("hs config set logging.file ", FILES),
        ("hs config set worker.num_tasks ", []),
        ("hs config set no.such.key ", []),
        ("hs config which autoscale.po", ["autoscale.policy"]),
        ("hs completion z", ["zsh"]),
        ("hs task update --remove-tag ", []),
    ],
)
def test_what_may_stand_at_the_end_of_a_line(line: str, expected: list[str]) -> None:
    """By the words before it."""
    assert after(line) == expected


def test_a_word_is_explained() -> None:
    """As far as a command says something about it."""
    assert Candidate("word", "--eager", "Retries go first.") in candidates(main, ["hs-cluster"], "--e")
    assert candidates(main, ["hs"], "conf") == [Candidate("word", "config", "Read and write settings.")]


def test_what_is_hidden_is_not_offered() -> None:
    """It is for our own programs."""
    assert "--errors-fd" not in after("hs-worker --")
    assert "--connection" in after("hs-worker --")


def test_every_metavar_of_a_path_is_known() -> None:
    """A new option that takes a file is completed because it says so."""
    cluster = main.get_command(click.Context(main), "cluster")
    assert cluster is not None
    paths = [option.opts[-1] for option in cluster.params if option.metavar in ("PATH", "FILE")]

    assert len(paths) >= 6
    assert all(after(f"hs-cluster {name} ") == FILES for name in paths)
