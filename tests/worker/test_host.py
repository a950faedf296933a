"""What a process may use, by the files of a host that is made up."""

import os
from pathlib import Path

import pytest

from hs_worker.host import cores_usable, memory_usable

ALL_CORES = len(os.sched_getaffinity(0))
ALL_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def a_host(folder: Path, cgroup: str, files: dict[str, str]) -> str:
    for path, text in {"proc/self/cgroup": cgroup, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("cgroup", "files", "cores", "memory"),
    [
        # No limit anywhere.
        (
            "0::/\n",
            {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
            ALL_CORES,
            ALL_MEMORY,
        ),
        # One and a half cores are one whole one; less than one is one too.
        ("0::/a\n", {"sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 1, ALL_MEMORY),
        ("0::/a\n", {"sys/fs/cgroup/a/cpu.max": "20000 100000\n"}, 1, ALL_MEMORY),
        # The tightest of our group and those above it counts.
        (
            "0::/a/b\n",
            {"sys/fs/cgroup/a/memory.max": "1048576\n", "sys/fs/cgroup/a/b/memory.max": "2097152\n"},
            ALL_CORES,
            1048576,
        ),
        # cgroup v1, each controller a hierarchy of its own.
        (
            "4:memory:/job\n2:cpu,cpuacct:/job\n",
            {
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4194304\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            1,
            4194304,
        ),
        # No limit as cgroup v1 says it.
        (
            "4:memory:/\n2:cpu:/\n",
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            ALL_CORES,
            ALL_MEMORY,
        ),
        # In a container the path is one that only the host has.
        ("0::/../x\n", {"sys/fs/cgroup/memory.max": "8388608\n"}, ALL_CORES, 8388608),
        # Nothing is mounted.
        ("", {}, ALL_CORES, ALL_MEMORY),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, cgroup: str, files: dict[str, str], cores: int, memory: int) -> None:
    """Of affinity, of physical memory, and of every group that we are in."""
    host = a_host(tmp_path, cgroup, files)

    assert cores_usable(host) == cores
    assert memory_usable(host) == memory
