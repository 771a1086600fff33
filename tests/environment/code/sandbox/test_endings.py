"""However a program ends, the ending is a result."""

from __future__ import annotations

import pytest

from environment.code.sandbox.base import Sandbox, Status

pytestmark = pytest.mark.asyncio(loop_scope="session")

# program: status, exit code, stdout, the end of stderr
ENDINGS: dict[str, tuple[Status, int, str, str]] = {
    "": (Status.OK, 0, "", ""),
    "print('hi', end='')": (Status.OK, 0, "hi", ""),
    "if __name__ == '__main__': print(__name__)": (Status.OK, 0, "__main__\n", ""),
    "raise SystemExit": (Status.OK, 0, "", ""),
    "raise SystemExit(0)": (Status.OK, 0, "", ""),
    "raise SystemExit(3)": (Status.FAILED, 3, "", ""),
    "raise SystemExit('why')": (Status.FAILED, 1, "", "why\n"),
    "raise SystemExit(256 + 7)": (Status.FAILED, 7, "", ""),
    "print(1); import os; os._exit(0)": (Status.OK, 0, "", ""),
    "import os; os._exit(9)": (Status.FAILED, 9, "", ""),
    "import os; os.abort()": (Status.FAILED, -6, "", ""),
    "import os; os.kill(os.getpid(), 9)": (Status.FAILED, -9, "", ""),
    "import ctypes; ctypes.string_at(0)": (Status.FAILED, -11, "", ""),
    "1 / 0": (Status.FAILED, 1, "", "ZeroDivisionError: division by zero\n"),
    "x = (": (Status.FAILED, 1, "", "SyntaxError: '(' was never closed\n"),
    "x = '\0'": (Status.FAILED, 1, "", "null bytes\n"),
    "x = '\ud800'": (Status.FAILED, 1, "", ""),
    "def f(): f()\nf()": (
        Status.FAILED,
        1,
        "",
        "RecursionError: maximum recursion depth exceeded\n",
    ),
    "raise KeyboardInterrupt": (Status.FAILED, 1, "", "KeyboardInterrupt\n"),
    "raise GeneratorExit": (Status.FAILED, 1, "", "GeneratorExit\n"),
    "raise MemoryError": (Status.MEMORY, 1, "", "MemoryError\n"),
    "class E(Exception):\n def __str__(self): raise SystemExit(0)\nraise E": (
        Status.FAILED,
        1,
        "",
        "",
    ),
    "import os; os.close(1); print('kept')": (Status.OK, 0, "kept\n", ""),
    "import os; os.close(2); 1 / 0": (Status.FAILED, 1, "", "division by zero\n"),
    "import os; os.closerange(0, 99); print('kept')": (Status.OK, 0, "kept\n", ""),
    "import sys; sys.stdout.close()": (Status.FAILED, 120, "", ""),
    "import sys; sys.stdout = None": (Status.FAILED, 120, "", ""),
    "import atexit; atexit.register(print, 'last')": (Status.OK, 0, "last\n", ""),
    "import threading; threading.Thread(target=print, args=(1,)).start()": (
        Status.OK,
        0,
        "1\n",
        "",
    ),
    "input()": (Status.FAILED, 1, "", "EOFError: EOF when reading a line\n"),
    "print(10 ** 5000)": (Status.FAILED, 1, "", ""),
    "print(len(str(10 ** 4000)))": (Status.OK, 0, "4001\n", ""),
    "import sys; sys.stdout.buffer.write(b'\\xff\\n')": (Status.OK, 0, "\ufffd\n", ""),
    "print('\u00fc\U0001f600')": (Status.OK, 0, "\u00fc\U0001f600\n", ""),
    "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))).__name__)": (
        Status.OK,
        0,
        "C\n",
        "",
    ),
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int' = 1\nprint(P())": (
        Status.OK,
        0,
        "P(x=1)\n",
        "",
    ),
    "import __main__; x = 3; print(__main__.x)": (Status.OK, 0, "3\n", ""),
    "import os; os.kill(os.getpid(), 2)\nimport time; time.sleep(9)": (
        Status.FAILED,
        1,
        "",
        "KeyboardInterrupt\n",
    ),
}


@pytest.mark.parametrize("program", ENDINGS)
async def test_an_ending(program: str, sandbox: Sandbox) -> None:
    status, code, out, err = ENDINGS[program]
    execution = await sandbox.run(program, {})
    assert (execution.status, execution.exit_code) == (status, code), execution.stderr
    assert execution.stdout == out
    assert execution.stderr.endswith(err)


async def test_a_traceback_shows_the_program_and_nothing_of_ours(sandbox: Sandbox) -> None:
    execution = await sandbox.run("def f(x):\n    return x.y\n\nf(3)\n", {})
    lines = execution.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.strip() for line in lines if "File" in line] == [
        'File "program.py", line 4, in <module>',
        'File "program.py", line 2, in f',
    ]
    assert "    return x.y" in lines


async def test_recursion_without_a_limit_ends_only_the_program(open_sandbox, kind: str) -> None:
    # So much time that it decides nothing, whatever else the machine has to do.
    sandbox = open_sandbox(kind, wall_s=120.0, cpu_s=60)
    for program in (
        "import sys; sys.setrecursionlimit(10 ** 5)\ndef f(x): return f(x + 1)\nf(0)",
        "import sys; sys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6): x = [x]\nrepr(x)",
        "x = 'a' + '+a' * 10 ** 5\neval(x)",
    ):
        execution = await sandbox.run(program, {})
        assert execution.status in (Status.FAILED, Status.MEMORY)


async def test_a_long_program(sandbox: Sandbox) -> None:
    program = "x = 0\n" + "x += 1\n" * 50_000 + "print(x)"
    assert (await sandbox.run(program, {})).stdout == "50000\n"


async def test_the_same_program_has_the_same_result(sandbox: Sandbox) -> None:
    """Also where it depends on the order of a set: a reward must not."""
    program = "print({str(n) for n in range(50)}, hash('x'))"
    assert len({(await sandbox.run(program, {})).stdout for _ in range(5)}) == 1


async def test_random_numbers_differ(sandbox: Sandbox) -> None:
    """Cells are copies of one process, but not of its random numbers."""
    program = (
        "import random, uuid, secrets; print(random.random(), uuid.uuid4(), secrets.token_hex())"
    )
    outputs = [(await sandbox.run(program, {})).stdout.split() for _ in range(5)]
    assert all(len(set(column)) == 5 for column in zip(*outputs, strict=True))


async def test_the_time_is_told(sandbox: Sandbox) -> None:
    execution = await sandbox.run("import time; time.sleep(0.2)", {})
    assert execution.seconds >= 0.2
    assert 0 <= execution.queued_s <= execution.seconds
