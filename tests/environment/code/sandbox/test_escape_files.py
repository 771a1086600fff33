"""A program opens nothing but the standard library and its own folder."""

from __future__ import annotations

import sys

import pytest

from environment.code.sandbox.base import Sandbox, Status
from tests.environment.code.sandbox.world import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="session")

READS = {
    "a file": "print(open('@SECRET_FILE@').read())",
    "a file by a relative path": "import os; print(open(os.path.relpath('@SECRET_FILE@')).read())",
    "the users": "print(open('/etc/passwd').read())",
    "a folder's names": "import os; print(os.listdir('@FOLDER@'))",
    "the root folder's names": "import os; print(os.listdir('/'))",
    "temporary folders": "import os; print(os.listdir('/tmp'))",
    "the parent folder": "import os; print(os.listdir('..'))",
    "a folder entered first": "import os; os.chdir('@FOLDER@'); print(open('secret').read())",
    "through a descriptor of its folder": (
        "import os; d = os.open('@FOLDER@', os.O_PATH)\n"
        "print(os.read(os.open('secret', os.O_RDONLY, dir_fd=d), 99))"
    ),
    "a path descriptor opened again": (
        "import os; d = os.open('@SECRET_FILE@', os.O_PATH); print(open(f'/proc/self/fd/{d}').read())"
    ),
    "a module from elsewhere": (
        "import sys; sys.path.insert(0, '@FOLDER@')\n"
        "from importlib.machinery import SourceFileLoader as L\n"
        "print(L('secret', '@SECRET_FILE@').get_data('@SECRET_FILE@'))"
    ),
    "its line cache": "import linecache; print(linecache.getlines('@SECRET_FILE@')[0])",
    "a database": "import sqlite3; sqlite3.connect('file:@SECRET_FILE@?mode=ro', uri=True).execute('select 1'); print(open('@SECRET_FILE@').read())",
    "mapped into memory": (
        "import mmap, os; d = os.open('@SECRET_FILE@', os.O_RDONLY)\n"
        "print(mmap.mmap(d, 0, prot=mmap.PROT_READ)[:])"
    ),
    "a symbolic link to it": (
        "import os; os.symlink('@SECRET_FILE@', 'link'); print(open('link').read())"
    ),
    "a hard link to it": (
        "import os; os.link('@SECRET_FILE@', 'link'); print(open('link').read())"
    ),
    "its own environment": "print(open('/proc/self/environ').read())",
    "its own memory": "open('/proc/self/mem', 'rb+', 0)",
    "its own descriptors": "import os; print(os.listdir('/proc/self/fd'))",
    "the kernel's settings": "print(open('/proc/sys/kernel/hostname').read())",
    "the machine's mounts": "print(open('/proc/mounts').read())",
    "a device": "open('/dev/zero', 'rb').read(1)",
}


@pytest.mark.parametrize("what", READS)
async def test_reading_outside(what, attack) -> None:
    execution = await attack(READS[what] + "\nprint('ESCAPED')")
    assert execution.status is Status.FAILED
    assert SECRET not in execution.stdout


WRITES = {
    "a new file": "open('@FOLDER@/new', 'w').write('x')",
    "an existing file": "open('@SECRET_FILE@', 'r+').write('s3cret')",
    "appended to a file": "open('@SECRET_FILE@', 'a').close()",
    "a folder": "import os; os.mkdir('@FOLDER@/made'); os.rmdir('@FOLDER@/made')",
    "a rename to outside": "import os; open('mine', 'w').close(); os.rename('mine', '@FOLDER@/theirs')",
    "a rename from outside": (
        "import os; os.rename('@SECRET_FILE@', 'mine'); os.rename('mine', '@SECRET_FILE@')"
    ),
    "a file removed": "import os; os.unlink('@SECRET_FILE@')\nopen('@SECRET_FILE@', 'w').write('s3cret-of-the-host')",
    "permissions": "import os; os.chmod('@SECRET_FILE@', 0o666)",
    "a set-uid file": "import os; open('s', 'w').close(); os.chmod('s', 0o4755)",
    "times": "import os; os.utime('@SECRET_FILE@')",
    "extended attributes": "import os; os.setxattr('@SECRET_FILE@', 'user.x', b'1')",
    "an owner": "import os; os.chown('@SECRET_FILE@', os.getuid(), os.getgid())",
    "a file's length": "import os; os.truncate('@SECRET_FILE@', 18)",
    "a pipe with a name": "import os; os.mkfifo('fifo')",
    "shared memory with a name": (
        "import os; open('/dev/shm/x@PARENT@', 'w').close(); os.unlink('/dev/shm/x@PARENT@')"
    ),
    "its own folder removed": "import os; os.rmdir(os.getcwd())",
    "its own folder renamed": "import os; os.rename(os.getcwd(), os.getcwd() + '-away')",
    "a lock on a file": "import fcntl; fcntl.flock(open('@SECRET_FILE@'), fcntl.LOCK_EX)",
}


@pytest.mark.parametrize("what", WRITES)
async def test_writing_outside(what, attack, world) -> None:
    # Extended attributes need a file system with user.*; a tmpfs of an older kernel has none.
    await attack(WRITES[what] + "\nprint('ESCAPED')", proof=what != "extended attributes")
    assert world.secret.read_text() == SECRET


async def test_a_library_file_cannot_be_emptied_by_opening_it_to_read(sandbox: Sandbox) -> None:
    """Before Linux 6.2 Landlock lets that pass, so the filter has to refuse it."""
    program = "import os, this; os.open(this.__file__, os.O_RDONLY | os.O_TRUNC)"
    execution = await sandbox.run(program, {})
    assert "PermissionError: [Errno 1]" in execution.stderr


async def test_the_packages_of_the_interpreter_are_not_there(sandbox: Sandbox, world) -> None:
    """Those of its own site-packages, which is often a part of the library's folder."""
    program = """
import glob, os
above = os.path.dirname(os.path.dirname(os.__file__))
for folder in glob.glob(above + "/python3*/*-packages"):
    print("ESCAPED", os.listdir(folder))
for folder in ("site-packages", "dist-packages"):
    try:
        print("ESCAPED", os.listdir(f"{os.path.dirname(os.__file__)}/{folder}"))
    except OSError:
        pass
"""
    assert "ESCAPED" in world.bare(program)[0]
    execution = await sandbox.run(program, {})
    assert (execution.status, execution.stdout) == (Status.OK, "")


async def test_the_virtual_environment_is_not_there(sandbox: Sandbox) -> None:
    program = f"import sys; sys.path += {sys.path!r}; import pydantic; print('ESCAPED')"
    execution = await sandbox.run(program, {})
    assert "ModuleNotFoundError" in execution.stderr


async def test_the_folder_that_holds_the_interpreter_is_not_there(sandbox: Sandbox, world) -> None:
    program = f"import os; print('ESCAPED', os.listdir({sys.base_prefix!r}))"
    assert "ESCAPED" in world.bare(program)[0]
    assert "ESCAPED" not in (await sandbox.run(program, {})).stdout


@pytest.mark.parametrize(
    "module",
    "sqlite3 ssl decimal hashlib xml.dom.minidom email zoneinfo multiprocessing asyncio".split(),
)
async def test_the_standard_library_is_there(module: str, sandbox: Sandbox) -> None:
    execution = await sandbox.run(f"import {module}; print({module}.__name__)", {})
    assert execution.stdout == f"{module}\n", execution.stderr


async def test_an_execution_starts_with_an_empty_folder_and_environment(sandbox: Sandbox) -> None:
    """And so does the next one, whatever the first did."""
    program = """
import builtins, os, sys
print(os.listdir("."), dict(os.environ), sys.argv, hasattr(builtins, "mark"))
builtins.mark = 1
os.environ["MARK"] = "1"
os.mkdir("sub")
with open("sub/file", "w") as file:
    file.write("x")
print(open("sub/file").read())
os.rename("sub/file", "moved")
"""
    for _ in range(4):
        execution = await sandbox.run(program, {})
        assert execution.stdout == "[] {} ['program.py'] False\nx\n", execution.stderr


async def test_a_program_cannot_open_the_folder_of_another(sandbox: Sandbox) -> None:
    program = """
import os
here = int(os.path.basename(os.getcwd()))
for other in range(here + 9):
    if other != here:
        try:
            print("ESCAPED", os.listdir(f"../{other}"))
        except (PermissionError, FileNotFoundError) as error:
            print(type(error).__name__)
"""
    execution = await sandbox.run(program, {})
    assert execution.status is Status.OK, execution.stderr
    # The next cells are there, waiting for their programs.
    assert "PermissionError" in execution.stdout
    assert "ESCAPED" not in execution.stdout


async def test_a_database_in_its_own_folder_works(sandbox: Sandbox) -> None:
    program = """
import sqlite3
database = sqlite3.connect("own.db")
with database:
    database.execute("create table t (x)")
    database.executemany("insert into t values (?)", [(n,) for n in range(100)])
print(database.execute("select sum(x) from t").fetchone())
"""
    execution = await sandbox.run(program, {})
    assert execution.stdout == "(4950,)\n", execution.stderr
