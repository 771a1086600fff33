"""System calls that a program could make past Python, each of which fails."""

from __future__ import annotations

import errno
import platform

import pytest

from environment.code.sandbox.base import Sandbox, Status

pytestmark = pytest.mark.asyncio(loop_scope="session")

X86_64 = {
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "chroot": 161,
    "unshare": 272,
    "setns": 308,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "process_madvise": 440,
    "kcmp": 312,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "bpf": 321,
    "perf_event_open": 298,
    "userfaultfd": 323,
    "keyctl": 250,
    "add_key": 248,
    "request_key": 249,
    "memfd_create": 319,
    "memfd_secret": 447,
    "shmget": 29,
    "semget": 64,
    "msgget": 68,
    "mq_open": 240,
    "inotify_init1": 294,
    "fanotify_init": 300,
    "open_by_handle_at": 304,
    "name_to_handle_at": 303,
    "quotactl": 179,
    "init_module": 175,
    "kexec_load": 246,
    "reboot": 169,
    "swapon": 167,
    "syslog": 103,
    "personality": 135,
    "prctl": 157,
    "arch_prctl": 158,
    "seccomp": 317,
    "landlock_create_ruleset": 444,
    "setuid": 105,
    "setresuid": 117,
    "setfsuid": 122,
    "setgroups": 116,
    "capset": 126,
    "setsid": 112,
    "setpgid": 109,
    "fork": 57,
    "vfork": 58,
    "execve": 59,
    "execveat": 322,
    "tkill": 200,
    "rt_sigqueueinfo": 129,
    "sched_setscheduler": 144,
    "ioprio_set": 251,
    "mlockall": 151,
    "vmsplice": 278,
    "splice": 275,
    "tee": 276,
    "sendfile": 40,
    "fallocate": 285,
    "truncate": 76,
    "chmod": 90,
    "fchmodat": 268,
    "chown": 92,
    "setxattr": 188,
    "symlink": 88,
    "link": 86,
    "mknod": 133,
    "creat": 85,
    "umask": 95,
    "settimeofday": 164,
    "clock_settime": 227,
    "adjtimex": 159,
    "sethostname": 170,
    "acct": 163,
    "move_pages": 279,
    "mbind": 237,
    "modify_ldt": 154,
    "iopl": 172,
    "timer_create": 222,
    "signalfd4": 289,
    "writev": 20,
    "sendmsg": 46,
    "recvmsg": 47,
}
ABSENT = {"clone3": 435, "openat2": 437, "close_range": 436, "copy_file_range": 326}
CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return result, ctypes.get_errno()
"""
only_x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers are those of x86_64; see test_filter.py"
)


@only_x86_64
@pytest.mark.parametrize("call", X86_64)
async def test_a_refused_call(call: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(CALL + f"print(call({X86_64[call]}, 0, 0, 0, 0, 0, 0))", {})
    assert execution.stdout == f"(-1, {errno.EPERM})\n", execution.stderr


@only_x86_64
@pytest.mark.parametrize("call", ABSENT)
async def test_a_call_that_seems_not_to_exist(call: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(CALL + f"print(call({ABSENT[call]}, 0, 0, 0, 0, 0, 0))", {})
    assert execution.stdout == f"(-1, {errno.ENOSYS})\n", execution.stderr


@only_x86_64
async def test_a_call_newer_than_the_list_seems_not_to_exist(sandbox: Sandbox) -> None:
    execution = await sandbox.run(CALL + "print(call(463, 0, 0, 0, 0, 0, 0))", {})
    assert execution.stdout == f"(-1, {errno.ENOSYS})\n"


ESCAPES = {
    "a process made by clone": "call(56, 17, 0, 0, 0, 0)",
    "a process that shares memory": "call(56, 0x100 | 17, 0, 0, 0, 0)",
    "a thread in namespaces of its own": "call(56, 0x3D0F00 | 0x10000000, 0, 0, 0, 0)",
    "a signal to a thread of another": "call(234, @VICTIM@, @VICTIM@, 0)",
    "the owner of a descriptor's signals": "call(72, 1, 8, @VICTIM@)",
    "a larger pipe": "call(72, 1, 1031, 1 << 20)",
    "input typed into a terminal": "call(16, 0, 0x5412, 0)",
    "limits of another": "call(302, @VICTIM@, 7, 0, 0)",
    "another file as its output": "call(33, 0, 1)",
    "another file as its output, with flags": "call(292, 0, 2, 0)",
    "a file without a name": "call(2, id(b'.') + 32, 0o20200002, 0o600)",
}


@only_x86_64
@pytest.mark.parametrize("what", ESCAPES)
async def test_a_call_judged_by_its_arguments(what, sandbox: Sandbox, world) -> None:
    program = CALL + f"print({ESCAPES[what]})"
    execution = await sandbox.run(world.fill_in(program), {})
    refused = errno.EOPNOTSUPP if what == "a file without a name" else errno.EPERM
    assert execution.stdout == f"(-1, {refused})\n", execution.stderr


@only_x86_64
async def test_the_x32_calls_end_the_program(sandbox: Sandbox) -> None:
    execution = await sandbox.run(CALL + "print('ESCAPED', call(0x40000000 | 39))", {})
    assert (execution.status, execution.exit_code, execution.stdout) == (Status.FAILED, -31, "")


@only_x86_64
async def test_the_calls_of_i386_end_the_program(sandbox: Sandbox, world) -> None:
    """``int 0x80`` counts by another table, where 20 is getpid."""
    program = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
entry = ctypes.addressof(ctypes.c_char.from_buffer(code))
print("ESCAPED", ctypes.CFUNCTYPE(ctypes.c_int)(entry)(), flush=True)
"""
    execution = await sandbox.run(program, {})
    assert (execution.status, execution.exit_code, execution.stdout) == (Status.FAILED, -31, "")
