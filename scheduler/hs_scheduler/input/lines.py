"""Task lines out of chunks of bytes: split, judged, their tags resolved. No IO.

    chunk, chunk, ... ──feed──▶ buffer ──take──▶ NewTask, NewTask, ...     offset, line, tags: true for what was taken

Most lines hold no `#`: they pass in bulk, without a look at each.
"""

from itertools import repeat

from hs_common import limits
from hs_common.tuples import table
from hs_scheduler.stores.store import NewTask
from hs_scheduler.tasks.tags import TagError, Tags, merge, parse_tags, resolve, split_line

PREVIEW_BYTES = limits.KIB
"""So much of a line that is too long is kept, to show which one it was."""

TAG_WORD = b"HYPERSHELL"
"""Lines without it have no tags."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put at the start of UTF-8: no part of the first line."""


class Lines:
    """Complete lines out of chunks of bytes; `offset`, `line` and `tags` are true for what `take` has returned."""

    def __init__(self, offset: int = 0, line: int = 0, tags: Tags = ()) -> None:
        self.offset = offset
        self.line = line
        self.tags = tags
        self._fields = resolve(tags)
        self._buffer = b""
        self._cut = 0
        """Bytes of the first line in the buffer that are no longer in it, for the line is too long."""
        self._lent = 0
        """1 when the last newline in the buffer is ours."""

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet returned as lines."""
        return len(self._buffer) + self._cut - self._lent

    @property
    def whole(self) -> bool:
        """Whether a complete line is there."""
        return b"\n" in self._buffer

    def feed(self, chunk: bytes) -> None:
        """Take more of the input."""
        self._buffer += chunk
        if len(self._buffer) > limits.LINE_BYTES_MAX and b"\n" not in self._buffer:
            # Too long, wherever it ends: its start shows which line it was, the rest is only counted.
            self._cut += len(self._buffer) - PREVIEW_BYTES
            self._buffer = self._buffer[:PREVIEW_BYTES]

    def finish(self) -> None:
        """Note that this was all: the last line counts without a newline too."""
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\n"
            self._lent = 1

    def take(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks in the next complete lines: at most so many lines and bytes, but one line at least."""
        stop = self._buffer.rfind(b"\n", 0, bytes_max) + 1 or self._buffer.find(b"\n") + 1
        if not stop:
            return []
        block = self._buffer[:stop]
        lines = block.split(b"\n", lines_max)
        used = stop - len(lines.pop())
        if not self.offset:
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        tasks = self._tasks(lines, block)
        self._buffer = self._buffer[used:]
        self.offset += used + self._cut
        self.line += len(lines)
        self._cut = 0
        if not self._buffer:
            self.offset -= self._lent
            self._lent = 0
        return tasks

    def _tasks(self, lines: list[bytes], block: bytes) -> list[NewTask]:
        """Return the tasks among `lines`, which are the first ones of `block`."""
        if b"\r" in block:
            lines = [line.removesuffix(b"\r") for line in lines]
        if not (b"#" in block or b"\0" in block or self._cut or len(block) > limits.LINE_BYTES_MAX):
            detail, group, priority = self._fields
            some = filter(bytes.strip, lines)  # all but the blank ones
            return table(NewTask, some, repeat(detail), repeat(group), repeat(priority), repeat(""))
        tasks = []
        for number, line in enumerate(lines):
            cut = self._cut if number == 0 else 0
            if b"#" in line or b"\0" in line or cut or len(line) > limits.LINE_BYTES_MAX:
                task = self._odd(line, cut)
                if task is not None:
                    tasks.append(task)
            elif line and not line.isspace():
                tasks.append(NewTask(line, *self._fields, ""))
        return tasks

    def _odd(self, line: bytes, cut: int) -> NewTask | None:
        """Return the task of a line that needs a look, None for a comment."""
        fields = self._fields
        if cut or len(line) > limits.LINE_BYTES_MAX:
            return NewTask(
                line[:PREVIEW_BYTES], *fields, f"line of {len(line) + cut} bytes, over {limits.LINE_BYTES_MAX}"
            )
        comment = line.lstrip().startswith(b"#")
        if TAG_WORD in line:
            try:
                args, text = split_line(line)
                if text is not None:
                    own = merge(self.tags, parse_tags(text))
                    if not args:
                        self.tags, self._fields = own, resolve(own)
                        return None
                    if not comment:
                        line, fields = args, resolve(own)
            except TagError as exc:
                return NewTask(line, *fields, f"tag {exc}")
        if comment:
            return None
        return NewTask(line, *fields, "NUL in the line" if b"\0" in line else "")
