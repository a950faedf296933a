"""`--dry-run`: the lines as they would run, on stdout. Nothing is started, and no run is made.

What is only known when a task runs stays as it stands: `{slot}`, `{id}`, `{% command %}`. `{= expression =}` is evaluated here.
"""

import os

from hs_common.errors import ExpansionError, StoppedError
from hs_common.printable import printable
from hs_common.ready import readable, writable
from hs_common.template import Template
from hs_deploy.named_files import open_stream, regular_file
from hs_deploy.options import Options
from hs_scheduler.input.input_file import check_file
from hs_scheduler.input.source import FileSource, Source, StreamSource
from hs_scheduler.stores.store import NewTask

_LINES_MAX = 1_000
"""Expanded before they are written."""
_BYTES_MAX = 1 << 20
_SHOWN_CHARS_MAX = 80
"""Of a line that can never run."""


def dry_run(asked: Options) -> int:
    """Print what every line would become; return the exit status, 1 if a line can never run.

    Raises:
        RefusedError: The input cannot be read, or has a bad tag.
        StoppedError: It cannot be read to its end, or the output not be written.

    """
    template = Template(os.fsencode(asked.template))
    source = _open(asked.file)
    status = 0
    while not source.ended:
        if isinstance(source, StreamSource):
            readable(source.fd)
        lines = []
        for task in source.read(_LINES_MAX, _BYTES_MAX):
            line, reason = _expanded(template, task)
            if reason:
                status = 1
                _say(task.args, reason)
            else:
                lines.append(line + b"\n")
        try:
            _write(1, b"".join(lines))
        except BrokenPipeError:  # `| head`: whoever reads has seen enough
            return status
        except OSError as exc:
            raise StoppedError(f"stdout: {exc.strerror}") from exc
    return status


def _open(file: str | None) -> Source:
    if file is None:
        return StreamSource(0)
    path = regular_file(file)
    if path is not None:
        check_file(path)
        return FileSource(os.open(path, os.O_RDONLY | os.O_CLOEXEC), file)
    return StreamSource(open_stream(file))


def _expanded(template: Template, task: NewTask) -> tuple[bytes, str]:
    """Return the line, or b"" and why it can never run."""
    if task.rejected:
        return b"", task.rejected
    try:
        return template.preview(task.args), ""
    except ExpansionError as exc:
        return b"", f"template: {exc}"


def _say(args: bytes, reason: str) -> None:
    shown = printable(args)
    if len(shown) > _SHOWN_CHARS_MAX:
        shown = f"{shown[:_SHOWN_CHARS_MAX]}..."
    _write(2, f"hs-cluster: would be REJECTED: {reason}: {shown}\n".encode())


def _write(fd: int, text: bytes) -> None:
    while text:
        try:
            text = text[os.write(fd, text) :]
        except BlockingIOError:  # the user's own non-blocking stream
            writable(fd)
