"""The two seccomp filters of a cell, as classic BPF programs for x86_64 and aarch64.

An allowlist, because kernels gain system calls with every release and a denylist would miss them.
It is short enough to maintain: Python without third-party extensions needs about a hundred calls.
Other calls fail with EPERM, which Python turns into PermissionError; calls newer than the list fail
with ENOSYS, so that glibc falls back to the calls they replace.

``allowlist`` decides what a program may do at all. ``accounting`` sends calls that consume threads,
files or disk to the zygote, which counts them. The kernel runs both, and the stricter answer wins.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from .calls import ABSENT, ARCHITECTURES, NEWEST, NUMBERS, Architecture

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000
KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000

_LOAD, _AND = 0x20, 0x54  # A = word at k of seccomp_data; A &= k
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _RETURN = 0x15, 0x25, 0x35, 0x06

_NUMBER, _ARCH = 0, 4  # offsets in seccomp_data
_X32 = 0x40000000

_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)  # of clone(2) in pthread_create, by glibc and musl
_O_CREAT = 0o100
_O_TMPFILE = 0o20000000
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
_MAP_ANONYMOUS, _MAP_TYPE, _MAP_PRIVATE = 0x20, 0x0F, 0x02
_STDERR = 2
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_DUPFD_CLOEXEC. Not
# F_SETOWN, which can signal other processes, nor F_SETPIPE_SZ, which consumes kernel memory.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

Program = list[tuple[int, int, int, int]]


def _error(code: int) -> int:
    return _ERRNO | code


def _result(value: int) -> Program:
    return [(_RETURN, 0, 0, value)]


def _argument(index: int) -> Program:
    """Load the low half of an argument: the kernel treats all checked arguments as ints."""
    return [(_LOAD, 0, 0, 16 + 8 * index)]


def _one_of(index: int, values: Sequence[int], then: int, otherwise: int) -> Program:
    program = _argument(index)
    for value in values:
        program += [(_IF_EQUAL, 0, 1, value), *_result(then)]
    return program + _result(otherwise)


def _above(index: int, bound: int, then: int, otherwise: int) -> Program:
    return [*_argument(index), (_IF_ABOVE, 0, 1, bound), *_result(then), *_result(otherwise)]


def _has(index: int, bits: int, then: int, otherwise: int) -> Program:
    """``then`` if all ``bits`` are set."""
    return [
        *_argument(index),
        (_AND, 0, 0, bits),
        (_IF_EQUAL, 0, 1, bits),
        *_result(then),
        *_result(otherwise),
    ]


def _opening(flags: int) -> Program:
    return [
        # No anonymous files; Python's tempfile falls back to named ones.
        *_argument(flags),
        (_AND, 0, 0, _O_TMPFILE),
        (_IF_EQUAL, 0, 1, _O_TMPFILE),
        *_result(_error(errno.EOPNOTSUPP)),
        # Read-only yet truncated: before Linux 6.2, Landlock only requires the right to read.
        *_argument(flags),
        (_AND, 0, 0, _O_ACCMODE | _O_TRUNC),
        (_IF_EQUAL, 0, 1, _O_TRUNC),
        *_result(_error(errno.EPERM)),
        *_result(ALLOW),
    ]


def _mapping() -> Program:
    # Writes through a shared file mapping would escape the accounting.
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
        beyond: the result for calls above ``NEWEST``.
        otherwise: the result for other calls without a rule.
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
    return [*program, (_IF_ABOVE, 0, 1, NEWEST), *_result(beyond), *_result(otherwise)]


def allowlist(machine: str, pid: int) -> bytes:
    """The filter of permitted calls.

    Args:
        machine: ``os.uname().machine``.
        pid: the program itself, the only process it may signal.

    Returns:
        A ``struct sock_filter[]``.
    """
    refused = _error(errno.EPERM)
    rules = {name: _result(ALLOW) for name in NUMBERS}
    rules |= {name: _result(_error(errno.ENOSYS)) for name in ABSENT}
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
        # Descriptors 0 to 2 must stay what they are, because writes to them do not count as disk
        # usage. Closing one succeeds without effect.
        "close": _above(0, _STDERR, ALLOW, _error(0)),
        "dup2": _above(1, _STDERR, ALLOW, refused),
        "dup3": _above(1, _STDERR, ALLOW, refused),
    }
    return encode(
        _assemble(ARCHITECTURES[machine], rules, beyond=_error(errno.ENOSYS), otherwise=refused)
    )


def accounting(machine: str) -> bytes:
    """The filter that notifies the zygote of calls that consume threads, files or disk.

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
    """Pack (code, jump if true, jump if false, operand) tuples as the kernel expects them."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
