"""One file of settings as people keep it: changed in place, comments and order stay, never half written."""

import contextlib
import fcntl
import os
import stat
import tomllib
from collections.abc import Iterator

from hs_common.config import KEYS, Value, read_text
from hs_common.errors import RefusedError

SUFFIXES = ("", "_env", "_eval")
"""The ways to write a setting; they exclude each other."""


class SettingsFile:
    """A file that may not exist yet; a link to it is followed, for people keep such files elsewhere."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)

    def read(self) -> str:
        """Return its text; "" if there is none yet.

        Raises:
            RefusedError: It cannot be read.

        """
        try:
            with open(self.path, encoding="utf-8", newline="") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (OSError, UnicodeDecodeError) as exc:
            raise RefusedError(f"{self.path}: {getattr(exc, 'strerror', None) or exc}") from exc

    def write(self, text: str) -> list[str]:
        """Replace it at once, if its text makes sense; return a sentence for each name in it that is none of ours.

        Raises:
            RefusedError: A value makes no sense, or it cannot be written; it is as it was.

        """
        _, unknown = read_text(text.encode(), self.path)
        temporary = f"{self.path}.{os.getpid()}.new"
        try:
            mode = stat.S_IMODE(os.stat(self.path).st_mode) if os.path.exists(self.path) else 0o600
            # 0600 at first: there may be a password in it.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise RefusedError(f"{self.path}: {exc.strerror}") from exc
        return unknown

    def set(self, written: str, value: Value) -> list[str]:
        """Write one setting, instead of whatever form of it the file has.

        Args:
            written: Its name, perhaps with `_env` or `_eval`; ssh.nodelist.NAME is one named list.
            value: As TOML has it.

        Raises:
            RefusedError: The file makes no sense, or cannot be written.

        """
        with self.locked():
            return self.write(changed(self.read(), written, value, self.path))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing it meanwhile.

        Raises:
            RefusedError: Its folder cannot be made.

        """
        folder = os.path.dirname(self.path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise RefusedError(f"{folder}: {exc.strerror}") from exc
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then as with any editor
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def changed(text: str, written: str, value: Value, path: str) -> str:
    """Return the text of a file with one setting changed, everything else as it was.

    Raises:
        RefusedError: The text is no TOML, or something else is where a section must be.

    """
    import tomlkit  # noqa: PLC0415 - only who writes needs it
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
        table = document
        *sections, name = written.split(".")
        for section in sections:
            if section not in table:
                table[section] = tomlkit.table()
            table = table[section]
            if not isinstance(table, dict):
                raise RefusedError(f"{path}: {section} is a value, not a section: change it by hand (hs config edit)")
        for form in forms(written) - {written}:
            table.pop(form.rpartition(".")[2], None)
        table[name] = value
        return tomlkit.dumps(document)
    except TOMLKitError as exc:
        raise RefusedError(f"{path}: {exc}") from exc


def forms(written: str) -> set[str]:
    """Return all the ways to write this setting."""
    key = key_of(written)
    return {key + suffix for suffix in SUFFIXES} if key in KEYS else {written}


def key_of(written: str) -> str:
    """Return the setting that a name means: without `_env` or `_eval`."""
    for suffix in SUFFIXES[1:]:
        if written.endswith(suffix):
            return written.removesuffix(suffix)
    return written


def line_of(text: str, written: str) -> int | None:
    """Return the number of the line on which a setting starts, or None.

    Whatever the syntax (sections, dotted names, inline tables): it starts where the last part without it ends.
    """
    lines = text.splitlines(keepends=True)
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            document: object = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value
        for name in written.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        if document is not None:
            return start + 1
        start = end
    return None
