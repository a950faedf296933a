"""What a worker says over SSH, taken apart again."""

import os
import select

import pytest

from hs_common.errors import WireError
from hs_worker.output.frames import DATA_BYTES_MAX, FrameReader, Kind, pack_frame
from hs_worker.output.streams import FramedStream

WORKER = b"w" * 16


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 4096, 10_000])
def test_frames_are_found_however_they_are_cut(piece_bytes: int) -> None:
    """A network cuts where it likes."""
    frames = [(Kind.BEGIN, WORKER), (Kind.SPOOL, bytes(DATA_BYTES_MAX)), (Kind.LINES, b"a\n"), (Kind.SPOOL, b"")]
    text = b"".join(pack_frame(kind, data) for kind, data in frames)
    reader = FrameReader()

    found = [frame for at in range(0, len(text), piece_bytes) for frame in reader.take(text[at : at + piece_bytes])]

    assert found == frames


@pytest.mark.parametrize("text", [b"hello, world\n", b"\x02\xff\xff", b"\x00\x00\x00"])
def test_what_is_no_frame_is_refused(text: bytes) -> None:
    """A worker of another version speaks otherwise."""
    with pytest.raises(WireError, match="no frame"):
        list(FrameReader().take(text))


def test_no_frame_is_larger_than_what_a_pipe_takes_whole() -> None:
    """So there are whole frames only, whenever their writer is killed."""
    read_fd, write_fd = os.pipe()
    stream = FramedStream(write_fd, WORKER, Kind.LINES)
    stream.queue += b"x" * 10_000
    stream.write()
    assert not stream.waits

    begin, *frames = FrameReader().take(os.read(read_fd, 65_536))
    os.close(read_fd)
    os.close(write_fd)

    assert begin == (Kind.BEGIN, WORKER)
    assert b"".join(data for _, data in frames) == b"x" * 10_000
    assert max(len(pack_frame(*frame)) for frame in frames) == select.PIPE_BUF
