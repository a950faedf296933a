"""The progress line on a pipe: what is drawn when."""

import os
from collections.abc import Iterator

import pytest

from hs_deploy.output.progress import REDRAW_S, Progress
from hs_deploy.output.relay import Outlet
from hs_deploy.output.summary import Totals


@pytest.fixture
def screen() -> Iterator[tuple[int, Progress]]:
    """Return where to read what a progress line draws, and the line."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    progress = Progress(Outlet(write_end))
    yield read_end, progress
    progress._console.file.close()
    os.close(read_end)
    os.close(write_end)


def test_numbers_that_come_right_after_others_are_drawn_in_their_time(screen: tuple[int, Progress]) -> None:
    """Though nothing else happens for an hour: the last word is what stands there."""
    read_end, progress = screen
    progress.update(Totals(total=3), 0.0)
    progress.draw(0.0)
    assert b"0/3" in os.read(read_end, 4096)
    assert progress.deadline() is None

    progress.update(Totals(total=3, succeeded=2, running=1), REDRAW_S / 2)
    progress.draw(REDRAW_S / 2)
    with pytest.raises(BlockingIOError):
        os.read(read_end, 4096)
    assert progress.deadline() == REDRAW_S

    progress.draw(REDRAW_S)
    assert b"2/3  0 failed  1 running" in os.read(read_end, 4096)
    assert progress.deadline() is None
