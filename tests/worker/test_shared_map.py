"""The map that outlives a worker, in one process."""

import os
import signal
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common.tasks import Outcome, OutcomeKind
from hs_worker.shared_map import SharedMap, left_in, settle


def an_outcome(row: int, *, dispatch: int = 1, reason: str = "") -> bytes:
    return bytes(msgpack.packb(Outcome(row, dispatch, 0, 0, reason, 1.0, 2.0, 0.0, 0.0, 0, b"", b"", b"")))


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=80))
def test_records_come_back_in_order_around_the_end(steps: list[tuple[int, bool]]) -> None:
    """Whatever the sizes, and however often the ring is passed."""
    shared = SharedMap(1, 200)
    expected: list[tuple[int, bytes]] = []
    for number, (size, release) in enumerate(steps, 1):
        if shared.used + size + 16 <= 200:
            shared.append(number, bytes([number % 256]) * size)
            expected.append((number, bytes([number % 256]) * size))
        if release and expected:
            _, oldest = expected.pop(0)
            shared.release(len(oldest) + 16)
        assert list(shared.records()) == expected
        assert shared.used == sum(len(packed) + 16 for _, packed in expected)


def test_more_than_there_is_room_for_is_our_own_fault() -> None:
    """The core counts; here is only the last line of defence."""
    shared = SharedMap(1, 100)
    shared.append(1, b"x" * 50)

    with pytest.raises(BufferError):
        shared.append(2, b"x" * 50)
    with pytest.raises(BufferError):
        shared.release(67)
    assert list(shared.records()) == [(1, b"x" * 50)]


def test_what_was_running_has_crashed_but_what_was_written_down_has_not() -> None:
    """A worker may die between the record and the clearing of the slot."""
    # Given slot 0 running, slot 1 recorded and not cleared yet, slot 2 recorded before with an older dispatch
    shared = SharedMap(3, 4096)
    shared.occupy(0, 10, 1, 100, 5.5)
    shared.occupy(1, 20, 1, 200, 6.5)
    shared.append(200, an_outcome(20))
    shared.append(300, an_outcome(30))
    shared.occupy(2, 30, 2, 300, 7.5)

    # When its successor settles
    records = settle(shared)

    # Then the two that ran have crashed, once
    outcomes = [(bundle, Outcome(*msgpack.unpackb(packed))) for bundle, packed in records]
    assert [(bundle, outcome.row, outcome.dispatch, outcome.kind) for bundle, outcome in outcomes] == [
        (200, 20, 1, OutcomeKind.FINISHED),
        (300, 30, 1, OutcomeKind.FINISHED),
        (100, 10, 1, OutcomeKind.CRASHED),
        (300, 30, 2, OutcomeKind.CRASHED),
    ]
    assert [outcome.start for _, outcome in outcomes][2:] == [5.5, 7.5]

    # And a successor that dies at once changes nothing
    assert settle(shared) == records
    assert list(shared.occupied()) == []


def test_only_a_worker_that_was_welcomed_is_replaced() -> None:
    """One that no broker knows passes its name on, so that its predecessor is not forgotten."""
    shared = SharedMap(1, 100)
    shared.succeed(b"1" * 16)
    assert (shared.incarnation, shared.replaces) == (b"1" * 16, b"")

    shared.succeed(b"2" * 16)
    assert (shared.incarnation, shared.replaces) == (b"1" * 16, b"")

    shared.welcome()
    shared.succeed(b"3" * 16)
    assert (shared.incarnation, shared.replaces) == (b"3" * 16, b"1" * 16)

    shared.succeed(b"4" * 16)
    assert (shared.incarnation, shared.replaces) == (b"3" * 16, b"1" * 16)


def test_recording_is_what_counts_as_progress() -> None:
    """A guardian that sees it move may restart for ever."""
    shared = SharedMap(1, 100)
    shared.occupy(0, 1, 1, 1, 0.0)
    assert shared.finished == 0

    shared.append(1, b"x")

    assert shared.finished == 1


def test_a_file_says_what_had_finished_when_everybody_was_killed(tmp_path: Path) -> None:
    """Nobody closed it, and nobody wrote it to the disk: the kernel has its pages."""
    path = str(tmp_path / "map")
    pid = os.fork()
    if not pid:
        shared = SharedMap(3, 4096, path)
        shared.succeed(b"w" * 16)
        shared.append(1, an_outcome(10))
        shared.append(2, an_outcome(20))
        shared.occupy(1, 30, 1, 3, 1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    assert left_in(path, 4096) == (b"w" * 16, [an_outcome(10), an_outcome(20)])
    # And the next guardian of the same run takes it over, with the task that was running.
    shared = SharedMap(3, 4096, path)
    assert [(slot, found.row) for slot, found in shared.occupied()] == [(1, 30)]
    shared.succeed(b"x" * 16)
    assert len(settle(shared)) == 3
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("damage", ["boot", "slots", "empty", "missing"])
def test_a_file_that_cannot_be_trusted_is_none(tmp_path: Path, damage: str) -> None:
    """Of another boot (the power may have failed), of another number of slots, or not whole."""
    path = tmp_path / "map"
    SharedMap(3, 4096, str(path)).append(1, an_outcome(10))
    data = bytearray(path.read_bytes())
    if damage == "boot":
        data[64] ^= 1
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()

    slots = 4 if damage == "slots" else 3
    left = left_in(str(path), 4096) if damage != "slots" else None

    assert not (left and left[1])
    assert list(SharedMap(slots, 4096, str(path)).records()) == []


def test_a_file_is_reserved_as_a_whole(tmp_path: Path) -> None:
    """A page that the disk has no room for would be a SIGBUS, at any moment."""
    path = tmp_path / "map"
    SharedMap(3, 1 << 20, str(path))

    assert path.stat().st_blocks * 512 >= 1 << 20
