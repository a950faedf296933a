"""posix_spawn for tasks: whatever is the same for all of them is made ready once.

`os.posix_spawn` makes the whole environment and all attributes anew each time. Through ctypes the environment is an array of
strings of which a task changes its own, and the attributes are bytes. They name all signals: about each that is not named the C
library asks the kernel, in the child, before its execve, while its parent has to wait.

Each process: a session of its own; no signal blocked but, where that is asked for, SIGINT; every signal at its default, but those
that were ignored when we started (nohup) and that do not stop a task.
"""

import ctypes
import os
import signal
from collections.abc import Mapping, Sequence

from hs_worker.output.outputs import Actions

_OWN_MAX = 8
"""Variables of its own that a task brings at most without an array of its own: all but its tags."""
# Flags of spawn.h, the same in glibc and musl.
_SETSIGDEF = 0x04
_SETSIGMASK = 0x08
_SETSID = 0x80
_STRUCT_BYTES = 512
"""More than an attribute object, a list of actions or a set of signals takes in any C library."""
_OF_PYTHON = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""What Python itself ignores; a task would inherit it."""
_STOPPING = frozenset({signal.SIGINT, signal.SIGTERM})
"""What stops a task. A script's shell ignores SIGINT in what it starts with `&`: the tasks there would outlive each limit by a
whole `-S`, and no shell can trap what was ignored when it began. Of a terminal's SIGINT their own session keeps them free."""


class Spawner:
    """Starts processes in this environment.

    Args:
        environment: Name -> value, for all.

    """

    def __init__(self, environment: Mapping[bytes, bytes]) -> None:
        self._libc = ctypes.CDLL(None)
        pointer = ctypes.c_void_p
        for spawn in (self._libc.posix_spawn, self._libc.posix_spawnp):
            spawn.argtypes = [pointer, ctypes.c_char_p, pointer, pointer, pointer, pointer]
        self._pid = ctypes.c_int()
        self._pid_at = ctypes.addressof(self._pid)
        self._attributes = self._make_attributes(frozenset())
        self._held = self._make_attributes(frozenset({signal.SIGINT}))
        self.inherit(environment)

    def inherit(self, environment: Mapping[bytes, bytes]) -> None:
        """Start processes in this environment from now on."""
        self._inherited = [name + b"=" + value for name, value in environment.items()]
        count = len(self._inherited)
        self._environment = (ctypes.c_char_p * (count + _OWN_MAX + 1))(*self._inherited)
        self._own_at = count

    def spawn(
        self,
        program: bytes,
        argv: Sequence[bytes],
        own: list[bytes],
        actions: Actions | None,
        *,
        search: bool = False,
        hold: bool = False,
    ) -> int:
        """Start a process; return its pid.

        Args:
            program: Path, or, to `search`, a name to be found in our PATH.
            argv: With its name.
            own: `NAME=value` of each variable beyond the environment of all, in a name that is not in there.
            actions: What to do to its descriptors; None: nothing.
            search: As execvp does.
            hold: It starts with SIGINT blocked, and lets it in when it is ready for it.

        Raises:
            OSError: It cannot be started.

        """
        count = len(own)
        if count <= _OWN_MAX:
            environment = self._environment
            environment[self._own_at : self._own_at + count] = [*own]
            environment[self._own_at + count] = None
        else:
            environment = (ctypes.c_char_p * (self._own_at + count + 1))(*self._inherited, *own)
        arguments = (ctypes.c_char_p * (len(argv) + 1))(*argv)
        call = self._libc.posix_spawnp if search else self._libc.posix_spawn
        files = None if actions is None else self._make_actions(actions)
        try:
            attributes = self._held if hold else self._attributes
            error = call(self._pid_at, program, files, attributes, arguments, environment)
        finally:
            if files is not None:
                self._libc.posix_spawn_file_actions_destroy(files)
        if error:
            raise OSError(error, os.strerror(error))
        return self._pid.value

    def _make_attributes(self, blocked: frozenset[signal.Signals]) -> "ctypes.Array[ctypes.c_char]":
        libc = self._libc
        attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
        signals = ctypes.create_string_buffer(_STRUCT_BYTES)
        libc.posix_spawnattr_init(attributes)
        libc.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSID | _SETSIGDEF | _SETSIGMASK))
        libc.sigemptyset(signals)
        for number in blocked:
            libc.sigaddset(signals, int(number))
        libc.posix_spawnattr_setsigmask(attributes, signals)
        libc.sigemptyset(signals)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number in _OF_PYTHON | _STOPPING or signal.getsignal(number) != signal.SIG_IGN:
                libc.sigaddset(signals, int(number))
        libc.posix_spawnattr_setsigdefault(attributes, signals)
        return attributes

    def _make_actions(self, actions: Actions) -> "ctypes.Array[ctypes.c_char]":
        files = ctypes.create_string_buffer(_STRUCT_BYTES)
        self._libc.posix_spawn_file_actions_init(files)
        for kind, ours, theirs in actions:
            assert kind == os.POSIX_SPAWN_DUP2
            self._libc.posix_spawn_file_actions_adddup2(files, ours, theirs)
        return files
