"""Command lines that are read without click mean what they mean there, or are left to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common.quick import Declared, read
from hs_deploy import quick_cluster
from hs_deploy.cli import cluster, main
from hs_scheduler.cli import DECLARED as OF_SCHEDULER
from hs_scheduler.cli import read_quickly as of_scheduler
from hs_scheduler.command import scheduler
from hs_scheduler.commands import quick_info, quick_search, quick_submit
from hs_scheduler.commands.info import info
from hs_scheduler.commands.search import search
from hs_scheduler.commands.submit import submit

DECLARED = Declared(
    options={"-N": ("num", int), "--num": ("num", int), "-t": ("tags", str)},
    flags={"-q": ("quiet", True)},
    several=frozenset({"tags"}),
    single=frozenset({"quiet"}),
)


@pytest.mark.parametrize(
    ("words", "given", "rest"),
    [
        ("-N 8 a -q b", {"num": 8, "quiet": True}, ["a", "b"]),
        ("-N8 --num=9", {"num": 9}, []),  # the last one counts
        ("-t a -t b", {"tags": ("a", "b")}, []),
        ("-t -q", {"tags": ("-q",)}, []),  # the word after an option is its value
        ("- -- -q --", {}, ["-", "-q", "--"]),  # stdin; and what is no option any more
    ],
)
def test_words_become_parameters(words: str, given: dict[str, Any], rest: list[str]) -> None:
    """As click reads them."""
    assert read(words.split(), DECLARED) == (given, rest)


@pytest.mark.parametrize("words", ["-x", "--help", "-N", "-N eight", "--num", "--nu=8", "-qN8", "--quiet", "-q -q"])
def test_whatever_else_there_is_is_left_to_who_can_explain_it(words: str) -> None:
    """A mistake, or what is too rare to be read twice."""
    assert read(words.split(), DECLARED) is None


WORDS = st.sampled_from(
    ["--", "-", "a", "echo {}", "", "7", "-1", "2.5", "-h", "-x", "-N8", "-fx", "-g7", "--file=", "--tag=k:v", "-ta"]
)
SUBMIT_WORDS = st.lists(WORDS | st.sampled_from([*quick_submit.DECLARED.options, *quick_submit.DECLARED.flags]))
CLUSTER_WORDS = st.lists(WORDS | st.sampled_from([*quick_cluster.DECLARED.options, *quick_cluster.DECLARED.flags]))
SEARCH_WORDS = st.lists(
    WORDS
    | st.sampled_from([*quick_search.DECLARED.options, *quick_search.DECLARED.flags])
    | st.sampled_from(["json", "-fcsv", "-l2", "0", "--limit=3", "exit_status == 1", "id"])
)
INFO_WORDS = st.lists(WORDS | st.sampled_from([*quick_info.DECLARED.options, *quick_info.DECLARED.flags]))
SCHEDULER_WORDS = st.lists(
    WORDS
    | st.sampled_from(["-b", "-w", "-r", "-f", "--joblog", "--halt", "--database", "--spool", "--input-fd"])
    | st.sampled_from(["--no-db", "--eager", "--once", "--forever", "--restart", "--initdb", "--order-file"])
).map(lambda words: ["--connection", "-", "--report-fd", "3", *words])


def by_click(command: click.Command, words: Sequence[str]) -> Mapping[str, Any]:
    """Return the parameters of a command."""
    return command.make_context("test", list(words), resilient_parsing=False).params


@pytest.mark.parametrize(
    ("declared", "read_quickly", "command", "before"),
    [
        (quick_cluster.DECLARED, quick_cluster.read_quickly, cluster, []),
        (OF_SCHEDULER, of_scheduler, scheduler, ["--connection", "-", "--report-fd", "3"]),
    ],
    ids=["cluster", "scheduler"],
)
def test_each_option_is_that_of_click(
    declared: Declared, read_quickly: Callable[[Sequence[str]], object], command: click.Command, before: list[str]
) -> None:
    """In each form."""
    apart = [[*before, option, "7"] for option in declared.options]
    joined = [[*before, f"{option}=7"] for option, (_, kind) in declared.options.items() if kind is str]
    lines = [*apart, *joined, *([*before, flag] for flag in declared.flags)]

    assert [read_quickly(words) for words in lines] == [by_click(command, words) for words in lines]


def test_each_option_of_submit_is_that_of_click() -> None:
    """Likewise; its arguments come apart."""
    options = quick_submit.DECLARED.options
    lines = [[option, "7"] for option in options] + [[f"{option}=7"] for option in options]
    lines += [[flag] for flag in quick_submit.DECLARED.flags]

    found = [quick_submit.read_quickly([*words, "x"]) for words in lines]

    assert [asked and {"args": asked[0], **asked[1]} for asked in found] == [
        by_click(submit, [*words, "x"]) for words in lines
    ]


@given(SUBMIT_WORDS)
def test_submit_is_read_as_click_reads_it(words: list[str]) -> None:
    """Or not at all."""
    found = quick_submit.read_quickly(words)
    if found is not None:
        args, asked = found
        assert {"args": args, **asked} == by_click(submit, words)


def test_each_option_of_search_is_that_of_click() -> None:
    """Likewise; one of them takes nothing but the name of a format."""
    lines = [
        [option, "json" if name == "style" else "7"] for option, (name, _) in quick_search.DECLARED.options.items()
    ]
    lines += [[flag] for flag in quick_search.DECLARED.flags]

    assert [quick_search.read_quickly(words) for words in lines] == [by_click(search, words) for words in lines]


@given(SEARCH_WORDS)
def test_a_search_is_read_as_click_reads_it(words: list[str]) -> None:
    """Or not at all."""
    found = quick_search.read_quickly(words)
    if found is not None:
        assert found == by_click(search, words)


def test_each_option_of_info_is_that_of_click() -> None:
    """Likewise; it takes an id besides."""
    lines = [["x", option, "7"] for option in quick_info.DECLARED.options]
    lines += [["x", flag] for flag in quick_info.DECLARED.flags]

    assert [quick_info.read_quickly(words) for words in lines] == [by_click(info, words) for words in lines]


@given(INFO_WORDS)
def test_an_info_is_read_as_click_reads_it(words: list[str]) -> None:
    """Or not at all."""
    found = quick_info.read_quickly(words)
    if found is not None:
        assert found == by_click(info, words)


@given(CLUSTER_WORDS)
def test_a_run_is_read_as_click_reads_it(words: list[str]) -> None:
    """Or not at all."""
    found = quick_cluster.read_quickly(words)
    if found is not None:
        assert found == by_click(cluster, words)


@given(SCHEDULER_WORDS)
def test_a_scheduler_is_read_as_click_reads_it(words: list[str]) -> None:
    """Or not at all; hs-cluster has seen to the bounds of numbers."""
    found = of_scheduler(words)
    if found is not None and found["max_retries"] in (None, 7) and found["bundlesize"] in (None, 7):
        assert found == {name: value for name, value in by_click(scheduler, words).items() if name != "version"}


@pytest.mark.parametrize(
    ("read_quickly", "command", "words"),
    [
        (quick_cluster.read_quickly, cluster, "tasks.txt -N8 -r 2 -f failed.txt --no-db -k"),
        (quick_cluster.read_quickly, cluster, ""),
        (quick_submit.read_quickly, submit, "-f x -t a:1 -t b --once -g2 -- echo -n"),
        (quick_info.read_quickly, info, "01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b -x exit_status --json"),
        (quick_search.read_quickly, search, "id args -F -c -w exit_status==2 -t a -t b:1 -g-1 -l 3 -s id --desc"),
        (
            of_scheduler,
            scheduler,
            "--connection - --report-fd 3 -b 1 -w 5.0 -r 0 --database /x/tasks.db --spool /x/input",
        ),
        (of_scheduler, scheduler, "--connection - --report-fd 3 -b 1 -w 5.0 -r 2 --eager --no-db --input-fd 4"),
        (of_scheduler, scheduler, "--connection - --report-fd 3 -b 1 -w 0.5 -r 0 --database - --halt 3 -- -file"),
    ],
)
def test_the_usual_ones_are_read_quickly(
    read_quickly: Callable[[Sequence[str]], object], command: click.Command, words: str
) -> None:
    """Everybody waits for them."""
    assert read_quickly(words.split()) is not None
    by_click(command, words.split())


@pytest.mark.parametrize("words", ["-b 5", "-w 1", "--help", "-f", "--no-such"])
def test_what_click_must_check_is_left_to_it(words: str) -> None:
    """Bounds, help and mistakes."""
    assert quick_submit.read_quickly(words.split()) is None
    assert main.get_command(click.Context(main), "submit") is submit


@pytest.mark.parametrize("words", ["-l0", "-l x", "-f xml", "-g 1.5", "-F -S", "--json --csv", "-cF", "--help", "-w"])
def test_a_search_that_click_must_check_is_left_to_it(words: str) -> None:
    """Likewise, and what excludes each other."""
    assert quick_search.read_quickly(words.split()) is None


@pytest.mark.parametrize("words", ["", "a b", "a --json --yaml", "a --stdout --stderr", "a --help", "a -x", "a --js"])
def test_an_info_that_click_must_check_is_left_to_it(words: str) -> None:
    """Likewise."""
    assert quick_info.read_quickly(words.split()) is None


@pytest.mark.parametrize("words", ["-v", "-vv", "--ssh", "-A", "-p 5000", "--help", "-V", "a b", "-kq", "--jobs 3"])
def test_a_run_elsewhere_and_a_mistake_are_read_by_click(words: str) -> None:
    """As is all that it has to explain, or to count."""
    assert quick_cluster.read_quickly(words.split()) is None


@pytest.mark.parametrize("words", ["", "--connection x", "--connection - -b 0", "--connection - --report-fd x"])
def test_a_scheduler_that_is_started_by_hand_is_read_by_click(words: str) -> None:
    """Its bounds are checked there."""
    assert of_scheduler(words.split()) is None
