"""The streams of a session, taken apart: no session is needed."""

from pathlib import Path

import pytest

from hs_common.errors import StoppedError
from hs_deploy.launchers.session import MARK, Streams
from hs_deploy.launchers.spool_copy import SpoolCopy
from hs_worker.output.frames import Kind, pack_frame

FIRST, SECOND = b"1" * 16, b"2" * 16
BEGIN = MARK + b"\n" + pack_frame(Kind.BEGIN, FIRST)


def test_only_whole_lines_of_workers_are_passed_on() -> None:
    """What the host greets with is not; what a worker had begun to say when it died is ended."""
    said: list[bytes] = []
    streams = Streams(said.append, said.append)

    streams.out(b"Welcome to this host!\n" + BEGIN + pack_frame(Kind.LINES, b"one\ntw")[:7])
    assert said == []
    streams.out(pack_frame(Kind.LINES, b"one\ntw")[7:])
    streams.out(pack_frame(Kind.BEGIN, SECOND) + pack_frame(Kind.LINES, b"three\n"))

    assert said == [b"one\n", b"tw", b"three\n"]
    assert streams.failure == ""


def test_each_worker_has_a_file_and_hears_how_much_of_it_is_there(tmp_path: Path) -> None:
    """Its successor begins anew: what is said of the one is not taken for the other's."""
    streams = Streams(lambda _: None, lambda _: None, SpoolCopy(str(tmp_path)))
    streams.out(BEGIN)
    assert (streams.receipt(), list(tmp_path.iterdir())) == (b"", [])

    streams.out(pack_frame(Kind.SPOOL, b"abc") + pack_frame(Kind.SPOOL, b"de"))
    assert streams.receipt() == b"kept %s 5\n" % FIRST.hex().encode()
    assert streams.receipt() == b""
    streams.out(pack_frame(Kind.BEGIN, SECOND) + pack_frame(Kind.SPOOL, b"fghij"))
    assert streams.receipt() == b"kept %s 5\n" % SECOND.hex().encode()
    streams.end()

    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"abcde", b"fghij"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_worker_that_speaks_otherwise_is_not_listened_to() -> None:
    """Plain text, as of another version: it is said once, and nothing of it is taken for output."""
    said: list[bytes] = []
    streams = Streams(said.append, said.append)

    streams.out(MARK + b"\nplain text\n")
    streams.out(pack_frame(Kind.LINES, b"line\n"))

    assert said == []
    assert "plain text" in streams.failure


def test_a_spool_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    """What tasks say would be lost."""
    streams = Streams(lambda _: None, lambda _: None, SpoolCopy(str(tmp_path / "missing")))

    with pytest.raises(StoppedError, match=r"missing: No such file"):
        streams.out(BEGIN + pack_frame(Kind.SPOOL, b"abc"))
