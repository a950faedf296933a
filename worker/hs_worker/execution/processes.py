"""Tasks as processes: spawn, reap, signal. One thread, no polling, no `subprocess`.

    Spawn ──▶ slot noted in the map ──▶ posix_spawn ──▶ SIGCHLD ──▶ wait4(-1) ──▶ Exit

posix_spawn has no folder, umask or limits of its own, so the worker changes none of these but the folder, and that only when it
differs from the last task's. All descriptors beyond stderr are closed on exec. Source: RELIABILITY section 6.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Callable, Mapping
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC

import hs_common
from hs_common import limits
from hs_common.clock import monotonic, wall
from hs_common.crash import crash_point
from hs_worker.environment import base_environment, task_variables, uuid_text
from hs_worker.events import Exit, Spawn
from hs_worker.execution.direct import choose_split
from hs_worker.execution.executor import REAP_MAX
from hs_worker.execution.spawner import Spawner
from hs_worker.execution.tree import Snapshot, signal_all
from hs_worker.output.outputs import Actions, Outputs
from hs_worker.shared_map import SharedMap

_HOST_FAULTS = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT})
_EXPANDER = os.path.join(os.path.dirname(__file__), "expander.py")
_COMMON = os.path.dirname(os.path.dirname(hs_common.__file__))
_ANSWER_BYTES_MAX = 3 * limits.MIB
"""Read of what an expander leaves: more makes a command that is too long anyway."""
_NOWHERE = b"/dev/null/nowhere"
"""A folder that cannot be, whatever somebody makes."""
_FOLDERS_MAX = 1000
"""Missing folders that are remembered, so that each is told once."""


class Processes:
    """The slots of a worker as processes.

    Args:
        shared: Where a successor finds what was running.
        shell: Program that runs the lines that need one.
        environment: Of the worker.
        outputs: Where the tasks' streams go; None: they inherit ours.
        warn: Called with the event and its keys when a person may want to know.

    """

    def __init__(
        self,
        shared: SharedMap,
        shell: str,
        environment: Mapping[bytes, bytes],
        outputs: Outputs | None,
        warn: Callable[..., None],
    ) -> None:
        self.strangers = 0
        self._shared = shared
        self._shell = os.fsencode(shell)
        self._shell_name = os.path.basename(self._shell)
        self._split = choose_split(shell, environment)
        self._base = base_environment(environment)
        self._spawner = Spawner(self._base)
        self._outputs = outputs
        self._warn = warn
        self._slot_of: dict[int, int] = {}
        self._running: dict[int, tuple[int, float, bytes]] = {}
        """slot -> (pid, when it started, task's uid); stays after a stopped task's first process, as long as others are left."""
        self._peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._asked: dict[int, int] = {}
        """slot -> file in memory for what the process there is to answer."""
        self._snapshot: Snapshot | None = None
        self._home = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._home_pwd = self._base.get(b"PWD")
        self._folder = os.getcwdb()
        self._missing: set[bytes] = set()

    @property
    def has_ended(self) -> bool:
        """Return False: SIGCHLD tells."""
        return False

    def spawn(self, effect: Spawn) -> int:
        """Start a task; return 0, or the errno of what prevented it."""
        slot, task, bundle, folder, command, questions = effect
        if folder != self._folder:
            self._enter(folder)
            self._spawner.inherit(self._base)
        own = task_variables(task, command, slot)
        self._shared.occupy(slot, task.row, task.dispatch, bundle, wall())
        crash_point("worker.before_spawn")
        started_at = monotonic()
        try:
            if self._outputs is None and not questions:
                pid = self._launch(command, own, None)
            else:
                pid = self._launch_with(self._outputs, effect, own)
        except OSError as exc:
            self._shared.clear(slot)
            return exc.errno or EAGAIN
        self._slot_of[pid] = slot
        self._running[slot] = (pid, started_at, task.uid)
        self._shared.set_pid(slot, pid)
        crash_point("worker.after_spawn")
        return 0

    def reap(self) -> list[Exit]:
        """Return what ended since the last call; whom we do not know is reaped and counted."""
        exits: list[Exit] = []
        for _ in range(REAP_MAX):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            slot = self._slot_of.pop(pid, -1)
            if slot < 0:
                self.strangers += 1
                continue
            memory = self._memory(usage.ru_maxrss)
            exit_ = Exit(slot, status, self._running[slot][1], monotonic(), usage.ru_utime, usage.ru_stime, memory)
            asked = slot in self._asked
            if asked:
                exit_ = exit_._replace(answer=self._answer(slot))
            if self._outputs is not None:
                output = self._outputs.finish(slot, goes_on=asked and status == 0)
                exit_ = exit_._replace(output=output)
            exits.append(exit_)
        return exits

    def signal(self, slot: int, number: int) -> None:
        """Signal the group of a task, and whatever else of it can be found."""
        pid, _, uid = self._running[slot]
        processes = self._processes().of_task(pid, uuid_text(uid))
        if pid in self._slot_of:  # as long as it is not reaped, nobody else can have its number
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
            processes = [process for process in processes if process.group != pid]
        signal_all(processes, number)

    def left(self, slot: int) -> int:
        """Return how many processes of a task are still there."""
        pid, _, uid = self._running[slot]
        return len(self._processes().of_task(pid, uuid_text(uid)))

    def abandon(self, slot: int) -> None:
        """Forget what is in a slot: should it end after all, it is a stranger."""
        pid, _, _ = self._running.pop(slot)
        if self._slot_of.pop(pid, None) is not None and self._outputs is not None:
            self._outputs.finish(slot)
        if slot in self._asked:
            os.close(self._asked.pop(slot))

    def forget_snapshot(self) -> None:
        """Look at the processes afresh next time: one look serves all slots of one step."""
        self._snapshot = None

    def _processes(self) -> Snapshot:
        if self._snapshot is None:
            self._snapshot = Snapshot(os.getpid())
        return self._snapshot

    def _launch_with(self, outputs: Outputs | None, effect: Spawn, own: list[bytes]) -> int:
        actions = None if outputs is None else outputs.begin(effect.slot, effect.task)
        try:
            if effect.questions:
                return self._launch_expander(effect, own, actions)
            return self._launch(effect.command, own, actions)
        except OSError:
            if outputs is not None:
                outputs.drop(effect.slot)
            raise

    def _launch(self, command: bytes, own: list[bytes], actions: Actions | None) -> int:
        argv = self._split(command)
        if argv is not None:
            try:
                return self._spawner.spawn(argv[0], argv, own, actions, search=True)
            except OSError as exc:
                if exc.errno in _HOST_FAULTS:
                    raise
                # The task's own mistake: the shell says and returns what a shell does.
        if len(command) >= limits.SCRIPT_BYTES_MIN:
            return self._launch_script(command, own, actions)
        # A line that begins with a dash is no option of the shell.
        end_of_options = [b"--"] if command[:1] in (b"-", b"+") else []
        argv = [self._shell_name, b"-c", *end_of_options, command]
        return self._spawner.spawn(self._shell, argv, own, actions)

    def _launch_script(self, command: bytes, own: list[bytes], actions: Actions | None) -> int:
        """Run a line that is too long for an argument, from a file in memory: private, and gone with the last who reads it."""
        script = os.memfd_create("hs-task", os.MFD_CLOEXEC)
        try:
            with open(script, "wb", closefd=False) as file:
                file.write(command + b"\n")
            os.set_inheritable(script, True)  # noqa: FBT003 - its only argument
            argv = [self._shell_name, b"/dev/fd/%d" % script]
            return self._spawner.spawn(self._shell, argv, own, actions)
        finally:
            os.close(script)

    def _launch_expander(self, effect: Spawn, own: list[bytes], actions: Actions | None) -> int:
        """Start the process that answers the questions of a template; args and questions are in a file in memory (`expander`)."""
        fd = os.memfd_create("hs-template", os.MFD_CLOEXEC)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.writelines(text + b"\0" for text in (effect.task.args, *effect.questions))
            os.set_inheritable(fd, True)  # noqa: FBT003 - its only argument
            words: list[str | bytes] = [sys.executable, "-I", "-S", _EXPANDER, _COMMON, self._shell, str(fd)]
            argv = [os.fsencode(word) for word in words]
            # Python's own handler is there first: of a limit that ends meanwhile it would tell the user in many lines.
            pid = self._spawner.spawn(os.fsencode(sys.executable), argv, own, actions, hold=True)
            os.set_inheritable(fd, False)  # noqa: FBT003
        except OSError:
            os.close(fd)
            raise
        self._asked[effect.slot] = fd
        return pid

    def _answer(self, slot: int) -> bytes:
        fd = self._asked.pop(slot)
        try:
            return os.pread(fd, _ANSWER_BYTES_MAX, 0)
        finally:
            os.close(fd)

    def _enter(self, folder: bytes) -> None:
        """Go to a folder, or back to our own where there is no such one."""
        self._folder = folder
        try:
            # A relative one would depend on the task before.
            os.chdir(folder if folder.startswith(b"/") and b"\0" not in folder else _NOWHERE)
            self._base[b"PWD"] = folder
        except OSError as exc:
            os.fchdir(self._home)
            if self._home_pwd is None:
                self._base.pop(b"PWD", None)
            else:
                self._base[b"PWD"] = self._home_pwd
            if folder and folder not in self._missing and len(self._missing) < _FOLDERS_MAX:
                self._missing.add(folder)
                self._warn("folder.missing", folder=os.fsdecode(folder), error=exc.strerror)

    def _memory(self, kib: int) -> int:
        """Return the peak of a task in bytes, or 0 where it cannot be told: a vforked child starts with ours."""
        if kib <= self._peak_kib:
            return 0
        self._peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kib * limits.KIB if kib > self._peak_kib else 0
