"""Where things are kept: made private, and refused where others could reach in."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from hs_common import filesystems, site
from hs_common.errors import RefusedError, StoppedError


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home that nobody has used yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HYPERSHELL_SITE", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_site_is_made_private_in_the_home(home: Path) -> None:
    """No set-up."""
    assert site.site() == f"{home}/.hypershell"
    assert mode(site.site()) == 0o700
    assert (site.runs(), site.main()) == (f"{home}/.hypershell/runs", f"{home}/.hypershell/main")
    assert (mode(site.runs()), mode(site.main())) == (0o700, 0o700)
    assert site.latest() == f"{home}/.hypershell/latest"


def test_a_variable_puts_it_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local disk instead of a network home; also relative to where we are."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("HYPERSHELL_SITE", "deep/site")
    assert site.site() == f"{home}/deep/site"


def test_an_existing_readable_site_will_do(home: Path) -> None:
    """Made by hand with the usual umask."""
    (home / ".hypershell").mkdir(mode=0o755)
    assert site.site() == f"{home}/.hypershell"


def test_a_site_that_others_can_write_is_refused(home: Path) -> None:
    """They could put keys of their own there."""
    (home / ".hypershell").mkdir()
    (home / ".hypershell").chmod(0o770)
    with pytest.raises(RefusedError, match="others can write to it"):
        site.site()


@pytest.mark.parametrize("mask", [0o777, 0o277])
def test_a_umask_that_leaves_nothing_to_its_user_is_refused(home: Path, mask: int) -> None:
    """Folders and files would be made, and could not be opened again."""
    before = os.umask(mask)
    try:
        with pytest.raises(RefusedError, match=f"umask {mask:04o}: not even you could use what is made"):
            site.site()
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert not (home / ".hypershell").exists()


def test_a_site_that_cannot_be_is_refused(home: Path) -> None:
    """One line, with the way out: in a container the home may be nobody's to write."""
    (home / ".hypershell").touch()
    with pytest.raises(RefusedError, match=r"site .*: File exists: set HYPERSHELL_SITE to a folder of your own"):
        site.site()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_somebody_elses_site_is_refused(home: Path) -> None:
    """As with sudo and the home of another user: it would leave root's files there."""
    (home / ".hypershell").mkdir()
    os.chown(home / ".hypershell", 12345, 12345)
    with pytest.raises(RefusedError, match="belongs to user 12345"):
        site.site()


def test_latest_is_moved_in_one_step(home: Path) -> None:
    """There is no moment without it, and nothing is left over."""
    for run in ("a", "b"):
        site.set_latest(os.path.join(site.runs(), run))
    assert os.readlink(site.latest()) == f"{home}/.hypershell/runs/b"
    assert sorted(os.listdir(site.site())) == ["latest", "runs"]


def test_a_folder_in_the_place_of_latest_is_refused(home: Path) -> None:
    """As `cp -rL` of a site leaves it: it may have the only copy of somebody's tasks."""
    os.makedirs(site.latest())
    with pytest.raises(RefusedError, match=f"{home}/.hypershell/latest is a folder, and was a link to one: remove it"):
        site.set_latest(site.runs())
    assert sorted(os.listdir(site.site())) == ["latest", "runs"]


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "/etc"])
def test_a_name_that_leads_out_of_the_site_is_refused(home: Path, name: str) -> None:
    """A name of a cluster is no path."""
    with pytest.raises(RefusedError, match="no name of a cluster"):
        site.connection_path(name, "worker")


def test_who_looks_for_a_cluster_makes_none(home: Path) -> None:
    """Only those that are there are known; with a key for the role that is asked for."""
    for name in ("big", "main"):
        Path(site.connection_path(name, "worker")).touch()
    Path(site.connection_path("other", "control")).touch()

    assert site.connection_file("bgi", "worker") == f"{home}/.hypershell/connect/bgi/worker.json"
    assert site.unknown_cluster("bgi", "worker") == "there is no cluster bgi; known: big, main"
    assert sorted(os.listdir(home / ".hypershell/connect")) == ["big", "main", "other"]


def test_a_connection_has_its_place(home: Path) -> None:
    """By cluster and role."""
    assert site.connection_path("big", "worker") == f"{home}/.hypershell/connect/big/worker.json"
    assert mode(home / ".hypershell/connect/big") == 0o700


def test_the_runtime_folder_is_private_and_fresh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets of two runs never meet; a name alone leaves nothing behind."""
    # Not that of the test, which may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="hs-", dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        one, other = site.runtime_path(), site.runtime_path()
        assert one != other
        assert [os.path.dirname(one), os.path.exists(one)] == [short, False]

        site.make_runtime(one)
        site.make_runtime(one)  # a broker that is started again

        assert mode(one) == 0o700


def test_a_runtime_folder_that_others_prepared_is_refused(home: Path) -> None:
    """Whoever can write there could take the broker's place."""
    (home / "open").mkdir(mode=0o755)
    (home / "link").symlink_to(home)
    for there in ("open", "link"):
        with pytest.raises(StoppedError, match="not ours alone"):
            site.make_runtime(str(home / there))
    with pytest.raises(StoppedError, match="No such file"):
        site.make_runtime(str(home / "missing" / "run"))


@pytest.mark.parametrize("bad", ["missing", "file", "x" * 100], ids=["missing", "file", "long"])
def test_the_runtime_folder_goes_where_it_can(home: Path, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    """XDG_RUNTIME_DIR of a dead session, or a path that no socket address can hold."""
    (home / "file").touch()
    (home / ("x" * 100)).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / bad))
    # Not under pytest's folder, whose name grows with each run: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hs-", dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        assert os.path.dirname(site.runtime_path()) == short


def test_a_network_file_system_holds_no_sockets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer is replaced here: this machine has none."""
    monkeypatch.setattr(filesystems, "filesystem_type", lambda _: 0x6969)
    with pytest.raises(RefusedError, match="/tmp: on NFS"):
        site.runtime_path()


def test_the_kernel_says_what_a_file_system_is(tmp_path: Path) -> None:
    """/proc has a magic number that no other has."""
    assert filesystems.filesystem_type("/proc") == 0x9FA0
    assert filesystems.network_name("/proc") == ""
    with pytest.raises(FileNotFoundError):
        filesystems.filesystem_type(str(tmp_path / "missing"))
