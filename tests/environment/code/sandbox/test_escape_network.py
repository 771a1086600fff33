"""A program has no socket of any family, and reaches no server."""

from __future__ import annotations

import pytest

from environment.code.sandbox.base import Status

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOCKETS = {
    "TCP": "socket.create_connection(('127.0.0.1', @PORT@), 5)",
    "TCP server": "socket.create_server(('127.0.0.1', 0))",
    "TCP over IPv6": "socket.socket(socket.AF_INET6)",
    "UDP": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @PORT@))",
    "unix": "socket.socket(socket.AF_UNIX).connect('@UNIX@')",
    "abstract unix": "socket.socket(socket.AF_UNIX).connect('\\0@ABSTRACT@')",
    "unix pair": "socket.socketpair()",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "kernel crypto": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(0))",
    "names": "socket.getaddrinfo('localhost', 80)",
}


@pytest.mark.parametrize("family", SOCKETS)
async def test_sockets(family, attack) -> None:
    text = f"import socket\n{SOCKETS[family]}\nprint('ESCAPED')"
    execution = await attack(text, proof=family not in ("TCP over IPv6", "kernel crypto"))
    assert execution.status is Status.FAILED


async def test_a_raw_call_for_a_socket(attack) -> None:
    """Past Python's own module."""
    execution = await attack(
        """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
print("ESCAPED" if libc.syscall(number, 2, 1, 0) >= 0 else os.strerror(ctypes.get_errno()))
"""
    )
    assert execution.stdout == "Operation not permitted\n"
