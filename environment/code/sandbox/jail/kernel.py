"""System calls for the lockdown that Python's standard library lacks, through ctypes."""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 4, 8, 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_GET_ACTION_AVAIL = 1, 2
_NEW_LISTENER = 1 << 3
_CAPABILITY_VERSION_3 = 0x20080522

# File access rights, by the Landlock ABI that introduced them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NOT_FOR_FILES = READ_DIR | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER
_TCP = 3  # bind and connect, from ABI 4
_SCOPES = 3  # abstract unix sockets and signals, from ABI 6


def _called(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(what: str, number: int, *arguments: int | bytes | None) -> int:
    """
    Raises:
        OSError: the call failed.
    """
    converted = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    return _called(_libc.syscall(ctypes.c_long(number), *converted), what)


def _prctl(what: str, option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _called(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), what)


def no_new_privileges() -> None:
    """Ignore set-uid bits on exec; seccomp and Landlock require it."""
    _prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def not_dumpable() -> None:
    """Disable core dumps, and hide this process's memory from others of the same user."""
    _prctl("not dumpable", _PR_SET_DUMPABLE, 0)


def die_with_parent(signal: int) -> None:
    _prctl("parent death signal", _PR_SET_PDEATHSIG, signal)


def become(uid: int) -> None:
    """Change from root to another user without groups, keeping capabilities for now."""
    _prctl("keep capabilities", _PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def open_files_as(uid: int) -> None:
    """Access the file system as another user. Needs effective CAP_SETUID."""
    _libc.setfsuid(uid)


def set_capabilities(permitted: int, effective: int) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = (1 << 32) - 1, 32
    data = struct.pack(
        "=6I", effective & low, permitted & low, 0, effective >> high, permitted >> high, 0
    )
    _called(_libc.capset(header, data), "capset")


def landlock_abi() -> int:
    """
    Raises:
        OSError: Landlock is missing or disabled.
    """
    return _syscall("Landlock", _LANDLOCK_CREATE_RULESET, None, 0, 1)


class Landlock:
    """Rules for what this process may open. ``enforce`` denies everything else."""

    def __init__(self) -> None:
        abi = landlock_abi()
        self._rights = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= abi)]
        handled = [self._rights]
        handled += [_TCP] if abi >= 4 else []
        handled += [_SCOPES] if abi >= 6 else []
        attributes = struct.pack(f"={len(handled)}Q", *handled)
        self._rules = _syscall(
            "Landlock rules", _LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0
        )

    def allow(self, path: str, rights: int) -> None:
        """Grant rights on a file, or on a folder and everything below it."""
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= ~_NOT_FOR_FILES
            rule = struct.pack("=Qi", rights & self._rights, descriptor)
            _syscall(f"Landlock rule for {path}", _LANDLOCK_ADD_RULE, self._rules, 1, rule, 0)
        finally:
            os.close(descriptor)

    def enforce(self) -> None:
        """Apply the rules to this process and its descendants."""
        _syscall("Landlock", _LANDLOCK_RESTRICT_SELF, self._rules, 0)
        os.close(self._rules)


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _seccomp_number() -> int:
    machine = os.uname().machine
    if machine not in _SECCOMP:
        raise OSError(f"no seccomp filter for {machine}")
    return _SECCOMP[machine]


def seccomp_notifies() -> None:
    """
    Raises:
        OSError: the kernel lacks seccomp user notifications.
    """
    action = struct.pack("=I", 0x7FC00000)
    _syscall("seccomp", _seccomp_number(), _SECCOMP_GET_ACTION_AVAIL, 0, action)


def filter_calls(program: bytes, *, listen: bool = False) -> int:
    """Install a seccomp filter permanently.

    Args:
        program: a ``struct sock_filter[]``.

    Returns:
        With ``listen``, the descriptor that receives notifications.
    """
    wrapped = _Filter(len(program) // 8, program)
    flags = _NEW_LISTENER if listen else 0
    _called(
        result := _libc.syscall(
            ctypes.c_long(_seccomp_number()),
            ctypes.c_long(_SECCOMP_SET_MODE_FILTER),
            ctypes.c_long(flags),
            ctypes.byref(wrapped),
        ),
        "seccomp filter",
    )
    return result
