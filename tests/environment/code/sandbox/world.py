"""What lies outside a sandbox, for programs to attack: a secret, a victim, servers; and bare runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from environment.code.sandbox.isolated import interpreter

SECRET = "s3cret-of-the-host"
_VICTIM = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)  # whoever may ptrace it, may
print("up", flush=True)
time.sleep(600)
"""


class World:
    """
    Attributes:
        folder: outside of every sandbox; anybody may write there.
        secret: a file that anybody may read.
        victim: a process of the same user, with the secret in its environment.
        port: of a TCP and a UDP server on loopback.
        path, abstract: of unix servers.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="world-"))
        self.folder.chmod(0o777)
        self.secret = self.folder / "secret"
        self.secret.write_text(SECRET)
        self.secret.chmod(0o666)
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self.path = self.folder / "socket"
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(str(self.path))
        self._unix.listen()
        self.path.chmod(0o777)
        self.abstract = f"world-{os.getpid()}-{self.port}"
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("\0" + self.abstract)
        self._abstract.listen()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _VICTIM], env={"KEY": SECRET}, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n"
        self.victim = self._process.pid

    @property
    def victim_lives(self) -> bool:
        return self._process.poll() is None

    def fill_in(self, attack: str) -> str:
        """Put the places of this world into an attack's text."""
        names = {
            "FOLDER": str(self.folder),
            "SECRET_FILE": str(self.secret),
            "VICTIM": str(self.victim),
            "PARENT": str(os.getpid()),
            "PORT": str(self.port),
            "UNIX": str(self.path),
            "ABSTRACT": self.abstract,
        }
        for name, value in names.items():
            attack = attack.replace(f"@{name}@", value)
        return attack

    def bare(self, attack: str) -> tuple[str, str]:
        """The two outputs of an attack in a plain subprocess."""
        folder = tempfile.mkdtemp(dir=self.folder)
        done = subprocess.run(
            [str(interpreter()), "-I", "-S", "-B", "-c", attack],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return done.stdout, done.stderr

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        for server in (self._tcp, self._udp, self._unix, self._abstract):
            server.close()
        shutil.rmtree(self.folder)
