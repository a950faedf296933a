"""Run a command, and write the most memory that it had at once (bytes) to a file: python peak.py FILE COMMAND..."""

import os
import sys

if __name__ == "__main__":
    pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status, used = os.wait4(pid, 0)
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(str(used.ru_maxrss * 1024))
    sys.exit(os.waitstatus_to_exitcode(status))
