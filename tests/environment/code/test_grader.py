"""Programs are graded by what their calls return, whatever else they do."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from environment.code.grader import grade
from environment.code.models import Attempt, CodeProblem, Verdict
from environment.code.sandbox.base import Execution, Sandbox, SandboxError, Status
from tests.environment.code.conftest import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT = "def f(x):\n    return x + 1"
# Every way we know to be paid without solving: each must end in a failure.
CHEATS = {
    "prints a success marker": "print('PASSED', 'OK', '[true]', flush=True)\ndef f(x): return 0",
    "ends the process with 0 before the tests": "import os\nos._exit(0)",
    "ends the process with 0 in the test": "import os\ndef f(x):\n    os._exit(0)",
    "raises SystemExit": "raise SystemExit(0)",
    "raises SystemExit in the test": "def f(x):\n    raise SystemExit(0)",
    "returns what equals everything": (
        "class E:\n    def __eq__(self, o): return True\n    def __bool__(self): return True\n"
        "def f(x): return E()"
    ),
    "returns an int that equals everything": (
        "class E(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
        "def f(x): return E(99)"
    ),
    "patches the builtins": (
        "import builtins\nbuiltins.all = builtins.bool = builtins.isinstance = lambda *a: True\n"
        "def f(x): return 99"
    ),
    "patches AssertionError": (
        "import builtins\nclass A(BaseException):\n    def __new__(cls, *a): raise SystemExit(0)\n"
        "builtins.AssertionError = A\ndef f(x): return 99"
    ),
    "patches json": "import json\njson.dumps = lambda *a, **k: '{\"v\": true}'\ndef f(x): return 0",
    "patches unittest": (
        "import unittest\nunittest.TestCase.run = lambda *a: None\ndef f(x): return 99"
    ),
    "patches the driver": (
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "    frame.f_globals['encode'] = lambda v, d=0: True\n    frame = frame.f_back\n"
        "def f(x): return 99"
    ),
    "forges the reports": (
        "import os, sys\nframe = sys._getframe(1)\nmark = frame.f_locals['task']['mark']\n"
        "for _ in range(9):\n"
        "    os.write(1, ('\\n' + mark + '{\"loaded\": true, \"v\": true}\\n').encode())\n"
        "os._exit(0)"
    ),
    "overwrites whatever files there are": (
        "import os\nfor name in os.listdir('.'):\n    open(name, 'w').write('')\n"
        "def f(x): return 99"
    ),
    "hard-codes the visible test": "def f(x):\n    return 2",
    "swaps the tests it was called with": (
        "import sys\nframe = sys._getframe(1)\nframe.f_locals['task']['calls'][:] = ['99', '99']\n"
        "def f(x): return 99"
    ),
    "traces the driver": (
        "import sys\ndef trace(frame, event, arg):\n    return trace\nsys.settrace(trace)\n"
        "def f(x): return 99"
    ),
    "hides in a thread": (
        "import threading, os\nthreading.Thread(target=lambda: os._exit(0), daemon=True).start()\n"
        "def f(x):\n    import time\n    time.sleep(1)\n    return 99"
    ),
    "closes its outputs": "import os\nos.close(1)\nos.close(2)\ndef f(x): return 99",
}


async def attempt(
    sandbox: Sandbox, program: str, of: CodeProblem | None = None, *tests: str
) -> Attempt:
    chosen = of or problem()
    return (await grade(sandbox, chosen, program, tests or chosen.hidden_tests, {})).attempt


async def test_a_right_program_passes(sandbox: Sandbox) -> None:
    graded = await attempt(sandbox, RIGHT)
    assert (graded.verdict, graded.passed, graded.total, graded.feedback) == ("passed", 2, 2, "")
    assert graded.seconds > 0


@pytest.mark.parametrize("cheat", CHEATS, ids=str)
async def test_no_cheat_pays(cheat: str, sandbox: Sandbox) -> None:
    graded = await attempt(sandbox, CHEATS[cheat])
    assert graded.verdict is not Verdict.PASSED
    assert graded.passed < graded.total
    assert (await attempt(sandbox, RIGHT)).verdict is Verdict.PASSED, "the next one is not hurt"


@pytest.mark.parametrize("cheat", CHEATS, ids=str)
async def test_no_cheat_pays_where_the_rest_of_the_test_is_evaluated_too(
    cheat: str, sandbox: Sandbox
) -> None:
    of = problem("assert abs(f(1)) == 2 and f(5) > 5.5 and f(5) < 6.5")
    graded = await attempt(sandbox, CHEATS[cheat], of)
    assert (graded.verdict is not Verdict.PASSED, graded.passed) == (True, 0)
    assert (await attempt(sandbox, RIGHT, of)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("program", "verdict", "feedback"),
    [
        ("def f(x):\n    return x", Verdict.WRONG_ANSWER, "f(1) is 1, not 2"),
        ("def f(x) return 1", Verdict.SYNTAX, "SyntaxError: expected ':' (line 1)"),
        ("def f(x):\nreturn 1", Verdict.SYNTAX, "IndentationError: expected an indented block"),
        ("def f(x):\n    return '1' + x", Verdict.EXCEPTION, "f(1) raised TypeError: can only conc"),
        ("def g(x): pass", Verdict.EXCEPTION, "f(1) raised NameError: name 'f' is not defined"),
        ("1 / 0", Verdict.EXCEPTION, "the program raised ZeroDivisionError: division by zero"),
        ("def f(x):\n    return f(x)", Verdict.EXCEPTION, "f(1) raised RecursionError"),
        ("def f(x):\n    return print", Verdict.WRONG_ANSWER, "f(1) is a builtin_function"),
        ("def f(x):\n    while True: pass", Verdict.TIMEOUT, "f(1) took too long"),
        ("while True: pass", Verdict.TIMEOUT, "the program took too long"),
        ("def f(x):\n    import time\n    time.sleep(60)", Verdict.TIMEOUT, "f(1) took too long"),
        ("def f(x):\n    return bytearray(1 << 30)", Verdict.MEMORY, "f(1) raised MemoryError"),
        ("def f(x):\n    return 'x' * (1 << 20)", Verdict.OUTPUT, "f(1) printed or returned too"),
        ("while True: print('x' * 999)", Verdict.OUTPUT, "the program printed or returned too"),
        ("def f(x):\n    import os\n    os._exit(3)", Verdict.EXCEPTION, "f(1) ended the process"),
        ("def f(x):\n    return 10 ** 5000", Verdict.WRONG_ANSWER, "f(1) is too large a number"),
        ("x = '\0'", Verdict.SYNTAX, "SyntaxError: it is no text"),
        ("x = '\ud800'", Verdict.SYNTAX, "SyntaxError: it is no text"),
        ("", Verdict.EXCEPTION, "f(1) raised NameError"),
        ("class E(Exception):\n    def __str__(self): 1 / 0\ndef f(x): raise E", Verdict.EXCEPTION,
         "f(1) raised E"),
    ],
)  # fmt: skip
async def test_a_failure_is_told_by_its_kind(
    program: str, verdict: Verdict, feedback: str, sandbox: Sandbox
) -> None:
    graded = await attempt(sandbox, program)
    assert graded.verdict is verdict
    assert graded.feedback.startswith(feedback)
    assert len(graded.feedback) < 600
    assert graded.passed == 0


@pytest.mark.parametrize(
    "program",
    [
        "raise Exception('\\ud800')",
        "def f(x):\n    raise Exception('\\udfff')",
        (
            "import os, sys\nmark = sys._getframe(1).f_locals['task']['mark']\n"
            'for report in (\'"loaded": 1\', \'"v": {"t": "other", "v": "\\\\ud800"}\'):\n'
            "    os.write(1, ('\\n' + mark + '{' + report + '}\\n').encode())\n"
            "os._exit(0)"
        ),
    ],
)
async def test_feedback_is_text_that_can_be_sent_and_stored(program: str, sandbox: Sandbox) -> None:
    graded = await attempt(sandbox, program)
    assert "\\ud" in graded.feedback
    graded.feedback.encode()


async def test_an_annotation_that_python_cannot_evaluate_is_an_error(sandbox: Sandbox) -> None:
    graded = await attempt(sandbox, "def f(x: List[int]) -> int:\n    return x + 1")
    assert graded.feedback == "the program raised NameError: name 'List' is not defined"


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
async def test_a_program_may_have_dataclasses(future: str, sandbox: Sandbox) -> None:
    program = (
        f"{future}from dataclasses import dataclass\n@dataclass\nclass Next:\n    of: int\n"
        "def f(x):\n    return Next(x).of + 1"
    )
    graded = await attempt(sandbox, program)
    assert graded.verdict is Verdict.PASSED, graded.feedback


async def test_the_first_failure_is_told_and_all_are_counted(sandbox: Sandbox) -> None:
    of = problem("assert f(1) == 1", "assert f(2) == 9", "assert f(3) == 3", "assert f(0) == 1")
    graded = await attempt(sandbox, "def f(x):\n    return x // x * x", of)
    assert (graded.verdict, graded.passed, graded.total) == (Verdict.WRONG_ANSWER, 2, 4)
    assert graded.feedback == "f(2) is 2, not 9"


async def test_a_time_limit_keeps_what_was_there_before(sandbox: Sandbox) -> None:
    program = "def f(x):\n    while x > 2: pass\n    return x + 1"
    graded = await attempt(sandbox, program, None, "assert f(1) == 2", "assert f(5) == 6")
    assert (graded.verdict, graded.passed, graded.feedback) == (
        Verdict.TIMEOUT,
        1,
        "f(5) took too long",
    )


async def test_tests_of_every_form_are_decided(sandbox: Sandbox) -> None:
    of = problem(
        "assert sorted(f([2, 1])) == [1, 2]",
        "assert math.isclose(f([0.1, 0.2])[0] + 0.2, 0.3)",
        "assert f([1]) == f([1])",
        "assert not f([])",
        "assert isinstance(f([3]), list)",
        "assert all(x < 3 for x in f([1, 2]))",
        "assert twice(f([1])) == [1, 1]",
        setup="import math\ndef twice(x): return x + x",
    )
    program = "def f(x):\n    return list(x)"
    assert (await attempt(sandbox, program, of)).verdict is Verdict.PASSED
    wrong = await attempt(sandbox, "def f(x):\n    return [5]", of)
    assert (wrong.verdict, wrong.passed) == (Verdict.WRONG_ANSWER, 2)
    assert wrong.feedback == "assert sorted(f([2, 1])) == [1, 2] does not hold"


@pytest.mark.parametrize("setup", ["", "import math"])
async def test_a_module_that_the_solution_imports_is_not_the_programs_to_replace(
    setup: str, sandbox: Sandbox
) -> None:
    solution = "import math\ndef f(x):\n    return math.sqrt(x)"
    of = problem("assert math.isclose(f(2), 1.4142, rel_tol=0.01)", setup=setup, solution=solution)
    assert (await attempt(sandbox, solution, of)).verdict is Verdict.PASSED
    cheat = "class math:\n    isclose = lambda *a, **k: True\ndef f(x):\n    return 0"
    assert (await attempt(sandbox, cheat, of)).verdict is Verdict.WRONG_ANSWER


async def test_a_test_that_nothing_can_pass_is_failed(sandbox: Sandbox) -> None:
    of = problem("assert f(1) == {[1]: 2}", "assert f(1) == 2")
    graded = await attempt(sandbox, RIGHT, of)
    assert (graded.verdict, graded.passed) == (Verdict.WRONG_ANSWER, 1)


async def test_the_setup_is_there_for_the_program_and_for_the_test(sandbox: Sandbox) -> None:
    of = problem("assert f(4) == 2.0", setup="import math")
    assert (await attempt(sandbox, "def f(x):\n    return math.sqrt(x)", of)).verdict == "passed"


async def test_a_setup_may_make_objects_of_the_program(sandbox: Sandbox) -> None:
    of = problem("assert depth(root) == 2", setup="root = Node(1)\nroot.left = Node(2)")
    program = (
        "class Node:\n    def __init__(self, v):\n        self.v, self.left = v, None\n"
        "def depth(node):\n    return 1 + depth(node.left) if node else 0"
    )
    graded = await attempt(sandbox, program, of)
    assert graded.verdict is Verdict.PASSED, graded.feedback
    missing = await attempt(sandbox, "def depth(node): return 2", of)
    assert missing.feedback == "the program raised NameError: name 'Node' is not defined"


@pytest.mark.parametrize(
    "value",
    ["range(3)", "(x for x in range(3))", "map(int, '012')", "{0: 1, 1: 1, 2: 1}.keys()",
     "__import__('collections').deque([0, 1, 2])", "iter([0, 1, 2])"],
)  # fmt: skip
async def test_what_a_test_makes_a_list_of_may_be_any_iterable(
    value: str, sandbox: Sandbox
) -> None:
    program = f"def f():\n    return {value}"
    made = "assert list(f()) == [0, 1, 2]"
    assert (await attempt(sandbox, program, None, made)).verdict is Verdict.PASSED
    assert (await attempt(sandbox, program, None, "assert sum(f()) == 3")).verdict == "passed"
    graded = await attempt(sandbox, program, None, "assert f() == [0, 1, 2]")
    assert graded.feedback == "f() is an iterator, not [0, 1, 2]"


async def test_an_iterator_without_end_is_no_value(sandbox: Sandbox) -> None:
    program = "import itertools\ndef f():\n    return itertools.count()"
    graded = await attempt(sandbox, program, None, "assert list(f()) == [0]")
    assert (graded.verdict, graded.feedback) == ("wrong_answer", "f() is a count without end")


async def test_names_of_the_setup_are_not_hidden_by_ours(sandbox: Sandbox) -> None:
    of = problem(
        "assert decode(f(1)) == loads(2) and not encode",
        setup="def decode(x): return x\nloads, encode = decode, ''",
    )
    assert (await attempt(sandbox, RIGHT, of)).verdict is Verdict.PASSED


async def test_objects_of_the_program_may_be_handed_to_it(sandbox: Sandbox) -> None:
    of = problem("assert f([Pair(5, 24), Pair(15, 25)]) == 20")
    program = (
        "class Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
        "def f(pairs):\n    return sum(p.a for p in pairs)"
    )
    assert (await attempt(sandbox, program, of)).verdict is Verdict.PASSED


async def test_what_a_program_did_before_is_not_there_any_more(sandbox: Sandbox) -> None:
    await attempt(
        sandbox, "open('left', 'w').write('1')\nimport builtins\nbuiltins.LEFT = 1\n" + RIGHT
    )
    program = (
        "import os, builtins\ndef f(x):\n    return [os.listdir('.'), hasattr(builtins, 'LEFT')]"
    )
    graded = await attempt(sandbox, program, None, "assert f(1) == [[], False]")
    assert graded.verdict is Verdict.PASSED, graded.feedback


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=PLAIN, other=PLAIN)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_the_verdict_is_pythons_own_equality(
    value: object, other: object, sandbox: Sandbox
) -> None:
    program = f"def f():\n    return {value!r}"
    graded = await attempt(sandbox, program, None, f"assert f() == {other!r}")
    assert (graded.verdict is Verdict.PASSED) == (value == other)
    same = await attempt(sandbox, program, None, f"assert [f()] == [{value!r}]")
    assert same.verdict is Verdict.PASSED, same.feedback


class Broken(Sandbox):
    name = "broken"

    async def run(self, program: str, tags: object) -> Execution:
        raise SandboxError("it is gone")

    async def close(self) -> None: ...


async def test_a_sandbox_that_fails_is_not_the_programs_failure() -> None:
    with pytest.raises(SandboxError):
        await attempt(Broken(), RIGHT)


class Garbled(Broken):
    """Cuts every output in the middle, as a bound on it would."""

    def __init__(self, real: Sandbox, keep: int) -> None:
        self._real, self._keep = real, keep

    async def run(self, program: str, tags: object) -> Execution:
        ran = await self._real.run(program, {})
        return Execution(Status.OUTPUT, None, ran.stdout[: self._keep], "", ran.seconds)


@pytest.mark.parametrize("keep", [0, 1, 20, 35, 60, 80])
async def test_half_a_report_is_no_report(keep: int, sandbox: Sandbox) -> None:
    graded = await attempt(Garbled(sandbox, keep), RIGHT, None, "assert f(1) == 2")
    assert graded.passed == 0
