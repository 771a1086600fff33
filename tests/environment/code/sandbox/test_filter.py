"""The filters' decisions, on both architectures, by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from environment.code.sandbox.jail import bpf, calls

PID = 4711
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, NOTIFY, ERROR = 0x7FFF0000, 0x80000000, 0x7FC00000, 0x00050000


def decide(program: bytes, machine: str, number: int, *arguments: int, arch: int = 0) -> int:
    """What the kernel would do with a call."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch or AUDIT[machine], 0, *given)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x06:
            return operand
        else:
            holds = {
                0x15: accumulator == operand,
                0x25: accumulator > operand,
                0x35: accumulator >= operand,
            }[code]
            at += if_true if holds else if_false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request) -> str:
    return request.param


def number(machine: str, name: str) -> int:
    syscall = calls.ARCHITECTURES[machine].number(name)
    assert syscall is not None
    return syscall


@pytest.mark.parametrize(
    ("name", "arguments", "decision"),
    [
        ("read", (9,), ALLOW),
        ("write", (9,), ALLOW),
        ("futex", (), ALLOW),
        ("clone3", (), ERROR | errno.ENOSYS),
        ("clone", (0x3D0F00,), ALLOW),
        ("clone", (0x7D0F00,), ALLOW),
        ("clone", (17,), ERROR | errno.EPERM),
        ("clone", (0x3D0F00 | 0x20000000,), ERROR | errno.EPERM),
        ("kill", (PID, 9), ALLOW),
        ("kill", (0, 9), ERROR | errno.EPERM),
        ("kill", (0xFFFFFFFF, 9), ERROR | errno.EPERM),
        ("kill", (PID + 1, 9), ERROR | errno.EPERM),
        ("tgkill", (PID, PID + 5, 9), ALLOW),
        ("tgkill", (PID + 1, PID + 1, 9), ERROR | errno.EPERM),
        ("close", (2,), ERROR),
        ("close", (3,), ALLOW),
        ("dup3", (5, 1), ERROR | errno.EPERM),
        ("dup3", (1, 5), ALLOW),
        ("openat", (0, 0, 0), ALLOW),
        ("openat", (0, 0, 0o101), ALLOW),
        ("openat", (0, 0, 0o1000), ERROR | errno.EPERM),
        ("openat", (0, 0, 0o1101), ALLOW),
        ("openat", (0, 0, 0o20040002), ERROR | errno.EOPNOTSUPP),
        ("mmap", (0, 1, 3, 0x22), ALLOW),
        ("mmap", (0, 1, 3, 0x21), ALLOW),
        ("mmap", (0, 1, 5, 0x02), ALLOW),
        ("mmap", (0, 1, 3, 0x01), ERROR | errno.EPERM),
        ("mmap", (0, 1, 1, 0x03), ERROR | errno.EPERM),
        ("fcntl", (1, 2), ALLOW),
        ("fcntl", (1, 8), ERROR | errno.EPERM),
        ("fcntl", (1, 1031), ERROR | errno.EPERM),
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), ERROR | errno.EPERM),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), ERROR | errno.EPERM),
    ],
)
def test_the_allowlist(machine: str, name: str, arguments: tuple[int, ...], decision: int) -> None:
    program = bpf.allowlist(machine, PID)
    assert decide(program, machine, number(machine, name), *arguments) == decision


@pytest.mark.parametrize(
    ("name", "arguments", "decision"),
    [
        ("clone", (0x3D0F00,), NOTIFY),
        ("mkdirat", (), NOTIFY),
        ("openat", (0, 0, 0), ALLOW),
        ("openat", (0, 0, 0o101), NOTIFY),
        ("write", (2,), ALLOW),
        ("write", (3,), NOTIFY),
        ("pwrite64", (3,), NOTIFY),
        ("read", (3,), ALLOW),
    ],
)
def test_the_accounting(machine: str, name: str, arguments: tuple[int, ...], decision: int) -> None:
    program = bpf.accounting(machine)
    assert decide(program, machine, number(machine, name), *arguments) == decision


def test_every_call_that_takes_disk_is_counted_or_refused(machine: str) -> None:
    """Those of the list that write to a file; a new entry has to be thought about here."""
    writing = {name for name in calls.NUMBERS if "write" in name or name.startswith(("mk", "open"))}
    assert writing == {"write", "pwrite64", "mkdir", "mkdirat", "open", "openat", "openat2"}


def test_a_call_that_is_not_listed(machine: str) -> None:
    program = bpf.allowlist(machine, PID)
    listed = {calls.ARCHITECTURES[machine].number(name) for name in calls.NUMBERS}
    for other in set(range(calls.NEWEST + 1)) - listed:
        assert decide(program, machine, other) == ERROR | errno.EPERM
    for newer in (calls.NEWEST + 1, 999, 0x3FFFFFFF):
        assert decide(program, machine, newer) == ERROR | errno.ENOSYS


def test_calls_by_another_table_end_the_program(machine: str) -> None:
    i386, arm = 0x40000003, 0x40000028
    for program in (bpf.allowlist(machine, PID), bpf.accounting(machine)):
        for arch in (i386, arm):
            assert decide(program, machine, 0, arch=arch) == KILL
        for x32 in (0x40000000, 0x40000027, 0xFFFFFFFF):
            assert decide(program, machine, x32) == KILL


def test_the_filters_fit_the_kernel(machine: str) -> None:
    for program in (bpf.allowlist(machine, PID), bpf.accounting(machine)):
        assert len(program) // 8 <= 4096
