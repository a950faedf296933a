"""Which hosts a text names."""

import pytest

from hs_common.errors import RefusedError
from hs_deploy.launchers.nodes import Node, nodes_of, parse_nodes


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("one", ["one"]),
        ("one,two , three", ["one", "two", "three"]),
        ("cluster-a[00-04].xyz", [f"cluster-a{number:02}.xyz" for number in range(5)]),
        ("a[1-2]b[3-4]", ["a1b3", "a1b4", "a2b3", "a2b4"]),
        ("n[1-9/2]", ["n1", "n3", "n5", "n7", "n9"]),
        # What Slurm says in SLURM_JOB_NODELIST.
        ("node[001-003,007],gpu1", ["node001", "node002", "node003", "node007", "gpu1"]),
        ("same,same", ["same"]),
        ("10.0.0.1", ["10.0.0.1"]),
        ("fe80::1", ["fe80::1"]),
    ],
)
def test_patterns_and_lists(text: str, hosts: list[str]) -> None:
    """In order, each once."""
    assert [node.name for node in parse_nodes(text, "--ssh")] == hosts


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("me@one:2222", [Node("one", "me", 2222)]),
        ("me@n[1-2]:22,other", [Node("n1", "me", 22), Node("n2", "me", 22), Node("other")]),
        ("one:22", [Node("one", None, 22)]),
        ("[fe80::1]:2222", [Node("fe80::1", None, 2222)]),
        # A user of Active Directory.
        ("me@realm@one", [Node("one", "me@realm", None)]),
    ],
)
def test_users_and_ports(text: str, nodes: list[Node]) -> None:
    """They are of every host that the pattern names; and the name that is shown names the same host again."""
    assert parse_nodes(text, "--ssh") == tuple(nodes)
    assert tuple(again for node in nodes for again in parse_nodes(node.name, "--ssh")) == tuple(nodes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        (",", "names no host"),
        ("n[1-3", "brackets do not match"),
        ("n1-3]", "brackets do not match"),
        ("n[3-1]", "n[3-1]"),
        ("n[]", "n[]"),
        ("one:port", "port after the colon is no port"),
        ("one:0", "0 after the colon is no port"),
        ("one:65536", "65536 after the colon is no port"),
        ("@one", "no user before the @"),
        ("-oProxyCommand=x", "is no name of a host"),
        ("a b", "is no name of a host"),
        ("n[1-20000]", "over 10000 hosts"),
    ],
)
def test_what_names_no_host_is_refused_with_what_was_typed(text: str, said: str) -> None:
    """Above all nothing that ssh would take for an option."""
    with pytest.raises(RefusedError, match=r"^--ssh") as refused:
        parse_nodes(text, "--ssh")
    assert said in str(refused.value)


TABLE = {"fast": "f[1-2]", "slow": ["s1", "s2"]}


@pytest.mark.parametrize(
    ("setting", "group", "hosts"),
    [
        ("a,b", None, ["a", "b"]),
        (["a", "n[1-2]"], None, ["a", "n1", "n2"]),
        (TABLE, None, ["f1", "f2", "s1", "s2"]),
        (TABLE, "slow", ["s1", "s2"]),
    ],
)
def test_the_setting_is_a_text_a_list_or_a_table(setting: str | list[str], group: str | None, hosts: list[str]) -> None:
    """Without a group it is all of them."""
    assert [node.host for node in nodes_of(setting, group, "ssh.nodelist")] == hosts


@pytest.mark.parametrize(
    ("setting", "group", "said"),
    [
        ("", None, "no hosts"),
        ([], None, "no hosts"),
        ({}, None, "no hosts"),
        ("a", "fast", "has no groups"),
        (TABLE, "other", "there is fast, slow"),
    ],
)
def test_no_hosts_and_no_such_group_are_refused(setting: str, group: str | None, said: str) -> None:
    """With what there is instead."""
    with pytest.raises(RefusedError, match=said):
        nodes_of(setting, group, "ssh.nodelist")
