"""Keys and connection files: what is accepted, and above all what is not."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from hs_common.errors import RefusedError, StoppedError
from hs_common.private_files import read_private, write_private
from hs_common.security import (
    ROLES,
    Connection,
    KeyPair,
    Server,
    make_cluster,
    make_key_pair,
    read_connection,
    require_curve,
)

SERVER, CONNECTIONS = make_cluster(("ipc:///run/hs/broker", "tcp://10.0.0.1:50001"), "login1")
WORKER = CONNECTIONS["worker"]


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    """Return the path of a good connection file."""
    path = tmp_path / "worker.json"
    write_private(str(path), json.dumps(WORKER.to_json()).encode())
    return path


def test_a_cluster_has_a_key_pair_per_role_and_the_broker_their_public_halves() -> None:
    """So the broker's file opens no role, and one role's file no other."""
    assert set(CONNECTIONS) == set(ROLES)
    assert {role: one.keys.public for role, one in CONNECTIONS.items()} == SERVER.roles
    assert len({one.keys.secret for one in CONNECTIONS.values()} | {SERVER.keys.secret}) == 5
    assert {one.server_public for one in CONNECTIONS.values()} == {SERVER.keys.public}


def test_a_connection_survives_json() -> None:
    """It travels as one line on a pipe, or in a file."""
    for connection in CONNECTIONS.values():
        assert Connection.from_json(json.loads(json.dumps(connection.to_json()))) == connection
    assert Server.from_json(json.loads(json.dumps(SERVER.to_json()))) == SERVER


def test_no_secret_shows_in_a_repr() -> None:
    """A traceback or a log line must not tell it."""
    for value in (WORKER, SERVER, WORKER.keys):
        for secret in (WORKER.keys.secret, SERVER.keys.secret):
            assert secret.decode() not in repr(value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"role": "root"}, "role 'root' is none of"),
        ({"role": None}, "role None is none of"),
        ({"endpoints": []}, "not a list of 1..64"),
        ({"endpoints": ["tcp://h:1"] * 65}, "not a list of 1..64"),
        ({"endpoints": "tcp://h:1"}, "not a list of 1..64"),
        ({"endpoints": [5]}, "endpoint: not a text"),
        ({"endpoints": ["inproc://x"]}, "neither tcp"),
        ({"endpoints": ["ipc://@abstract"]}, "neither tcp"),  # it would have no permissions
        ({"endpoints": ["tcp://h:1\n"]}, "endpoint: not a text"),
        ({"server_public": "short"}, "not 40 characters of Z85"),
        ({"server_public": "~" * 40}, "not 40 characters of Z85"),
        ({"cluster": "xyz"}, "not hexadecimal"),
        ({"cluster": "00"}, "not 16 bytes"),
        ({"host": "h" * 2000}, "host: not a text"),
        ({"keys": None}, "keys: not an object"),
        ({"keys": {"public": "a"}}, "keys: not an object"),
        (
            {"keys": {"public": WORKER.keys.public.decode(), "secret": SERVER.keys.secret.decode()}},
            "do not belong together",
        ),
        ({"more": 1}, "not an object with exactly"),
    ],
)
def test_a_connection_with_an_odd_field_is_refused(change: dict[str, Any], why: str) -> None:
    """Before any socket is opened, with the field named and no secret in the message."""
    with pytest.raises(RefusedError, match=why) as caught:
        Connection.from_json(WORKER.to_json() | change)
    assert WORKER.keys.secret.decode() not in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", 5, {}])
def test_another_document_is_refused(document: object) -> None:
    """Whatever was in that file."""
    with pytest.raises(RefusedError):
        Connection.from_json(document)
    with pytest.raises(RefusedError):
        Server.from_json(document)


def test_a_server_that_lacks_a_role_is_refused() -> None:
    """Every role has a key, or the broker does not start."""
    document = SERVER.to_json()
    del document["roles"]["worker"]
    with pytest.raises(RefusedError, match="server roles"):
        Server.from_json(document)


def test_a_key_pair_that_does_not_belong_together_is_refused() -> None:
    """It would look like a broker that denies us."""
    one, other = make_key_pair(), make_key_pair()
    with pytest.raises(RefusedError, match="do not belong together"):
        KeyPair(one.public, other.secret)


def test_a_private_file_is_read_back(file: Path) -> None:
    """The common case."""
    assert read_connection(str(file)) == WORKER
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_private_file_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Also in the moment before it has its name; and nothing else is left in its folder."""
    before = os.umask(umask)
    try:
        write_private(str(tmp_path / "key"), b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_writing_replaces_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    """A link that somebody left under our name must not lead the secret elsewhere."""
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "key").symlink_to(tmp_path / "other")
    write_private(str(tmp_path / "key"), b"secret")
    assert (tmp_path / "other").read_bytes() == b"old"
    assert not (tmp_path / "key").is_symlink()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """All or nothing: here the final name is a folder, which no file can replace."""
    (tmp_path / "key").mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(str(tmp_path / "key"), b"secret")
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o601, 0o644])
def test_a_file_that_lets_others_in_is_refused(file: Path, mode: int) -> None:
    """As ssh does with a private key."""
    file.chmod(mode)
    with pytest.raises(RefusedError, match=f"mode 0{mode:o} lets others in"):
        read_connection(str(file))


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_file_in_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put another file in its place; any folder above counts."""
    folder = tmp_path / "open" / "closed"
    folder.mkdir(parents=True)
    write_private(str(folder / "key"), b"secret")
    (tmp_path / "open").chmod(mode)
    with pytest.raises(RefusedError, match=f"{tmp_path}/open can be written by others"):
        read_private(str(folder / "key"))


def test_a_sticky_folder_will_do(tmp_path: Path) -> None:
    """As /tmp: others can add names there, but not replace ours."""
    write_private(str(tmp_path / "key"), b"secret")
    tmp_path.chmod(0o1777)
    assert read_private(str(tmp_path / "key")) == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("victim", ["key", "."], ids=["file", "folder"])
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, victim: str) -> None:
    """Its owner can change it whenever he likes."""
    write_private(str(tmp_path / "key"), b"secret")
    os.chown(tmp_path / victim, 12345, 12345)
    with pytest.raises(RefusedError, match="belongs to user 12345"):
        read_private(str(tmp_path / "key"))


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _large(path: Path) -> None:
    write_private(str(path), bytes(100_000))


def _no_json(path: Path) -> None:
    write_private(str(path), b"\xff{")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.touch, "lets others in"),
        (Path.mkdir, "not a regular file"),
        (_fifo, "not a regular file"),  # and nobody waits for its writer
        (_large, "over 65536 bytes"),
        (_no_json, "not JSON"),
        (lambda _: None, "No such file"),
    ],
    ids=["touched", "folder", "fifo", "large", "no json", "missing"],
)
def test_what_is_no_connection_file_is_refused(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    """One line, whatever it is."""
    before = os.umask(0o022)
    make(tmp_path / "odd")
    os.umask(before)
    with pytest.raises(RefusedError, match=why):
        read_connection(str(tmp_path / "odd"))


def test_without_curve_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail closed: there is no unencrypted mode to fall back to."""
    monkeypatch.setattr(zmq, "has", lambda _: False)
    with pytest.raises(StoppedError, match="without CURVE"):
        require_curve()


def test_an_old_libzmq_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has holes that need no key."""
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 3, 3))
    with pytest.raises(StoppedError, match="too old"):
        require_curve()


def test_a_connection_is_a_value() -> None:
    """Its parts are compared, not its place in memory."""
    assert replace(WORKER, host="other") != WORKER
    assert replace(WORKER) == WORKER
