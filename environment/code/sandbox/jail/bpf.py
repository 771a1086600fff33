"""The two seccomp filters of a cell, as classic BPF programs for x86_64 and aarch64.

An allowlist, because a kernel gains system calls with every release and a denylist knows only
those of its day. It is small enough to be kept: Python without extension modules of its own needs
about a hundred calls. A call that is not listed fails with EPERM, as if by permission, which
Python turns into an ordinary PermissionError; one newer than the list fails with ENOSYS, so that
glibc falls back on the call it replaces.

``allowlist`` says what a program may do at all. ``accounting`` sends the calls that use up
threads, files or disk to the zygote, which counts them (see ``zygote``). The kernel runs both and
the stricter answer wins.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

_LOAD, _AND = 0x20, 0x54  # A = word at k of seccomp_data; A &= k
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _RETURN = 0x15, 0x25, 0x35, 0x06

_NUMBER, _ARCH = 0, 4  # where they lie in seccomp_data
_X32 = 0x40000000

_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)  # clone(2) as pthread_create of glibc and of musl call it
_O_CREAT = 0o100
_O_TMPFILE = 0o20000000
_MAP_ANONYMOUS, _MAP_TYPE, _MAP_PRIVATE = 0x20, 0x0F, 0x02
_STDERR = 2
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC. Not
# F_SETOWN, which has signals sent to others, nor F_SETPIPE_SZ, which takes the kernel's memory.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

# name: (number on x86_64, number on aarch64)
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # data
    "read": (0, 63),
    "write": (1, 64),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "close": (3, 57),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    "select": (23, None),
    "pselect6": (270, 72),
    "poll": (7, None),
    "ppoll": (271, 73),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    # paths, which Landlock bounds where they are opened, made or removed
    "open": (2, None),
    "openat": (257, 56),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "getdents64": (217, 61),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    # memory
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # signals, clocks and timers of one's own
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "pause": (34, None),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    # threads, and who one is
    "clone": (56, 220),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getpgrp": (111, None),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "prlimit64": (302, 261),
    # absent, as on an older kernel: glibc and Python fall back on calls that can be judged
    "clone3": (435, 435),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "epoll_pwait2": (441, 441),
    "copy_file_range": (326, 285),
}
_ABSENT = ("clone3", "close_range", "openat2", "epoll_pwait2", "copy_file_range")
_NEWEST = 450  # the highest number that was looked at for the list

Program = list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Args:
    audit: the kernel's ``AUDIT_ARCH_*``.
    column: of ``_NUMBERS``.
    """

    audit: int
    column: int

    def number(self, name: str) -> int | None:
        """Of a system call; None where the architecture has none of that name."""
        return _NUMBERS[name][self.column]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0),
    "aarch64": Architecture(0xC00000B7, 1),
}


def _error(code: int) -> int:
    return _ERRNO | code


def _result(value: int) -> Program:
    return [(_RETURN, 0, 0, value)]


def _argument(index: int) -> Program:
    """Load the low half of an argument: those that are judged are ints to the kernel."""
    return [(_LOAD, 0, 0, 16 + 8 * index)]


def _one_of(index: int, values: Sequence[int], then: int, otherwise: int) -> Program:
    program = _argument(index)
    for value in values:
        program += [(_IF_EQUAL, 0, 1, value), *_result(then)]
    return program + _result(otherwise)


def _above(index: int, bound: int, then: int, otherwise: int) -> Program:
    return [*_argument(index), (_IF_ABOVE, 0, 1, bound), *_result(then), *_result(otherwise)]


def _has(index: int, bits: int, then: int, otherwise: int) -> Program:
    """``then`` if all these bits are set."""
    return [
        *_argument(index),
        (_AND, 0, 0, bits),
        (_IF_EQUAL, 0, 1, bits),
        *_result(then),
        *_result(otherwise),
    ]


def _opening(flags: int) -> Program:
    # A file without a name would escape the count of the folder, and Python's tempfile knows how
    # to do without.
    return _has(flags, _O_TMPFILE, _error(errno.EOPNOTSUPP), ALLOW)


def _mapping() -> Program:
    # Stores to a shared mapping of a file would be writes that nothing counts.
    return [
        *_argument(3),
        (_AND, 0, 0, _MAP_ANONYMOUS),
        (_IF_EQUAL, 0, 1, _MAP_ANONYMOUS),
        *_result(ALLOW),
        *_argument(3),
        (_AND, 0, 0, _MAP_TYPE),
        (_IF_EQUAL, 0, 1, _MAP_PRIVATE),
        *_result(ALLOW),
        *_result(_error(errno.EPERM)),
    ]


def _assemble(
    architecture: Architecture, rules: dict[str, Program], beyond: int, otherwise: int
) -> Program:
    """
    Args:
        beyond: the answer to a number above ``_NEWEST``.
        otherwise: to any other call without a rule.
    """
    program: Program = [
        (_LOAD, 0, 0, _ARCH),
        (_IF_EQUAL, 1, 0, architecture.audit),
        *_result(KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        *_result(KILL_PROCESS),
    ]
    for name, rule in rules.items():
        number = architecture.number(name)
        if number is not None:
            program += [(_IF_EQUAL, 0, len(rule), number), *rule]
    return [*program, (_IF_ABOVE, 0, 1, _NEWEST), *_result(beyond), *_result(otherwise)]


def allowlist(machine: str, pid: int) -> bytes:
    """What a program may ask of the kernel.

    Args:
        machine: as ``os.uname().machine`` says.
        pid: of the program: the only process it may send a signal to.

    Returns:
        A ``struct sock_filter[]``.
    """
    refused = _error(errno.EPERM)
    rules = {name: _result(ALLOW) for name in _NUMBERS}
    rules |= {name: _result(_error(errno.ENOSYS)) for name in _ABSENT}
    rules |= {
        "open": _opening(1),
        "openat": _opening(2),
        "mmap": _mapping(),
        "clone": _one_of(0, _THREAD_FLAGS, ALLOW, refused),
        "kill": _one_of(0, (pid,), ALLOW, refused),
        "tgkill": _one_of(0, (pid,), ALLOW, refused),
        "prlimit64": _one_of(0, (0, pid), ALLOW, refused),
        "fcntl": _one_of(1, _FCNTL, ALLOW, refused),
        "ioctl": _one_of(1, _IOCTL, ALLOW, refused),
        # Descriptors 0 to 2 stay what they are, because writes to them are not counted as disk.
        # A program that closes one is told that it did.
        "close": _above(0, _STDERR, ALLOW, _error(0)),
        "dup2": _above(1, _STDERR, ALLOW, refused),
        "dup3": _above(1, _STDERR, ALLOW, refused),
    }
    return encode(
        _assemble(ARCHITECTURES[machine], rules, beyond=_error(errno.ENOSYS), otherwise=refused)
    )


def accounting(machine: str) -> bytes:
    """Sends the zygote what uses up threads, files and disk; all else passes.

    Returns:
        A ``struct sock_filter[]``.
    """
    notify = _result(NOTIFY)
    rules = {
        "clone": notify,
        "mkdir": notify,
        "mkdirat": notify,
        "open": _has(1, _O_CREAT, NOTIFY, ALLOW),
        "openat": _has(2, _O_CREAT, NOTIFY, ALLOW),
        "write": _above(0, _STDERR, NOTIFY, ALLOW),
        "pwrite64": _above(0, _STDERR, NOTIFY, ALLOW),
    }
    return encode(_assemble(ARCHITECTURES[machine], rules, beyond=ALLOW, otherwise=ALLOW))


def encode(program: Program) -> bytes:
    """Lay out instructions of (code, jump if true, jump if false, operand) as the kernel reads them."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
