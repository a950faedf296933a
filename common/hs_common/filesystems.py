"""Which kind of file system a path is on, as statfs(2) tells it. Source: linux/magic.h."""

import ctypes
import os

NETWORK_NAMES = {
    0x6969: "NFS",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x00C36400: "CEPH",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x65735546: "FUSE",
    0x5346414F: "AFS",
    0x01021997: "9p",
}
"""Those on which shared memory files, locks and sockets cannot be relied upon."""

_STATFS_BYTES = 256
"""More than any struct statfs (120 bytes on 64 bit); its first word is f_type."""


def filesystem_type(path: str) -> int:
    """Return statfs's f_type of a path that exists.

    Raises:
        OSError: It does not exist, or cannot be reached.

    """
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def network_name(path: str) -> str:
    """Return the name of the network file system that a path is on, or ""."""
    return NETWORK_NAMES.get(filesystem_type(path), "")
