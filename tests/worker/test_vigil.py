"""What a worker makes of a connection file that is not there any more."""

from math import inf
from pathlib import Path

import pytest

from hs_worker.vigil import LOOK_S, LOOKS, Vigil


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.json"
    path.touch()
    return path


def test_a_cluster_whose_file_was_removed_is_over(file: Path) -> None:
    """It is looked for some times in a row, the first time a while after the connection broke."""
    vigil = Vigil(str(file))
    vigil.begin(1)
    vigil.begin(2)
    assert vigil.due_at == 1 + LOOK_S
    file.unlink()

    assert [vigil.look(10) for _ in range(LOOKS)] == [*[False] * (LOOKS - 1), True]
    assert vigil.due_at == inf


def test_a_file_that_comes_back_counts(file: Path) -> None:
    """A broken connection says nothing, nor does a file system that was away."""
    vigil = Vigil(str(file))
    vigil.begin(0)
    moved = file.rename(file.with_name("moved"))
    missed = [vigil.look(10) for _ in range(LOOKS - 1)]
    moved.rename(file)
    missed.append(vigil.look(20))
    file.unlink()
    missed += [vigil.look(30) for _ in range(LOOKS - 1)]
    assert not any(missed)


def test_nothing_is_looked_for_while_a_broker_answers(file: Path) -> None:
    """Nor where the connection came on stdin."""
    vigil, without = Vigil(str(file)), Vigil("")
    vigil.begin(0)
    vigil.end()
    without.begin(0)

    assert (vigil.due_at, without.due_at) == (inf, inf)
