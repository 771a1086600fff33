"""A program's quota of threads, files and disk space.

No rlimit bounds these: RLIMIT_NPROC counts per user and exempts root, and RLIMIT_FSIZE is per file.
So the kernel asks the zygote (``bpf.accounting``) before each call that consumes some, which takes
milliseconds on a busy machine. Decisions depend only on register values, which the program cannot
change meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from .calls import ARCHITECTURES

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_*
_CONTINUE = 1
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_KIB = 1 << 10
# A write takes whole blocks and a file an inode, however small. At these prices no program uses
# more than four times its quota.
_WRITE_COSTS, _FILE_COSTS = 1 * _KIB, 16 * _KIB
_FOLDERS = 64  # also bounds nesting, and so the cost of removing them
_OWNER = 0o700

_NUMBER = {
    name: ARCHITECTURES[os.uname().machine].number(name)
    for name in ("clone", "write", "pwrite64", "mkdir", "mkdirat")
}


class Account:
    """
    Args:
        disk: total bytes that the program may write.
        threads: concurrent threads; simultaneous starts may exceed it twofold.
    """

    def __init__(self, disk: int, threads: int) -> None:
        self._disk, self._threads, self._folders = disk, threads, _FOLDERS

    def answer(self, listener: int, pid: int) -> None:
        """Allow or deny one system call."""
        request = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, request, True)
            identity, _, _, number, _, _, *arguments = _NOTIFICATION.unpack(request)
            refused = self._judge(pid, number, arguments)
            answer = struct.pack("=QqiI", identity, 0, -refused, 0 if refused else _CONTINUE)
            fcntl.ioctl(listener, _SEND, answer)
        except FileNotFoundError:
            pass  # the caller died, or a signal interrupted the call

    def _judge(self, pid: int, number: int, arguments: list[int]) -> int:
        """Returns: an errno, or 0."""
        if number == _NUMBER["clone"]:
            # Each thread is a subfolder and thus a link; stat needs no permission on /proc.
            running = os.stat(f"/proc/{pid}/task").st_nlink - 2
            return errno.EAGAIN if running >= self._threads else 0
        if number in (_NUMBER["write"], _NUMBER["pwrite64"]):
            self._disk -= max(arguments[2], _WRITE_COSTS)
            return errno.EDQUOT if self._disk < 0 else 0
        if number in (_NUMBER["mkdir"], _NUMBER["mkdirat"]):
            mode = arguments[1 if number == _NUMBER["mkdir"] else 2]
            if mode & _OWNER != _OWNER:
                return errno.EPERM  # its owner could not empty the folder
            self._folders -= 1
        self._disk -= _FILE_COSTS
        return errno.EDQUOT if min(self._disk, self._folders) < 0 else 0
