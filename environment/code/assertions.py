"""Splits ``assert`` statements so that a program never sees the values they expect.

``assert set(f([1, 2])) == {1, 2}`` becomes the call ``f([1, 2])``, which the sandbox evaluates, and
the rest ``set(_0) == {1, 2}``, which is evaluated elsewhere.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


class NotSeparable(ValueError):
    """The test cannot be split: it is not an assertion, does not call the program, or calls it
    with its own loop variables."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One test, split.

    Args:
        test: the original condition.
        calls: expressions for the sandbox to evaluate.
        rest: the condition with the calls replaced by ``_0``, ``_1`` …
    """

    test: str
    calls: tuple[str, ...]
    rest: str

    @property
    def expected(self) -> ast.expr | None:
        """The right-hand side of a test of the form ``call == something``."""
        rest = ast.parse(self.rest, mode="eval").body
        if (
            isinstance(rest, ast.Compare)
            and len(rest.ops) == 1
            and isinstance(rest.ops[0], ast.Eq)
            and isinstance(rest.left, ast.Name)
            and rest.left.id == "_0"
        ):
            return rest.comparators[0]
        return None


def take_apart(test: str, setup: str, solution: str = "") -> Assertion:
    """
    Args:
        test: an assert statement.
        setup, solution: the problem's own. Names that the setup binds or the solution imports do
            not belong to the program; names that the solution defines do, even if they shadow a
            builtin.

    Raises:
        NotSeparable: the test cannot be split.
    """
    match ast.parse(test).body:
        case [ast.Assert() as statement]:
            condition = ast.unparse(statement.test)
        case _:
            raise NotSeparable(f"{test!r} is not an assert statement")
    imports, definitions = _split_imports(solution)
    known = set(dir(builtins)) | set(_bound(ast.parse(setup).body)) | set(_bound(imports))
    known -= set(_bound(definitions))
    splitter = _Splitter(known)
    rest = splitter.visit(statement.test)
    if not splitter.calls:
        raise NotSeparable(f"{test!r} does not call the program")
    if _own_method_decides(ast.unparse(rest), splitter.calls[0]):
        raise NotSeparable(f"{test!r} is decided by a method of the program's own result")
    return Assertion(condition, tuple(splitter.calls), ast.unparse(rest))


def _own_method_decides(rest: str, call: str) -> bool:
    """Whether a test is like ``f(1).is_right(2)``: the program's own object would grade itself."""
    node = ast.parse(call, mode="eval").body
    return (
        rest in ("_0", "not _0")
        and isinstance(node, ast.Call)
        and bool(node.args or node.keywords)
        and isinstance(node.func, ast.Attribute)
        and any(isinstance(inner, ast.Call) for inner in ast.walk(node.func))
    )


def imports_of(solution: str) -> str:
    """The solution's import statements: tests use these, since the program could replace its own."""
    return "\n".join(ast.unparse(statement) for statement in _split_imports(solution)[0])


def _split_imports(solution: str) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The top-level imports of a solution, and its other statements; none if it does not parse."""
    imports: list[ast.stmt] = []
    others: list[ast.stmt] = []
    with contextlib.suppress(SyntaxError):
        for node in ast.parse(solution).body:
            (imports if isinstance(node, ast.Import | ast.ImportFrom) else others).append(node)
    return imports, others


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements bind."""
    for node in statements:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        else:
            yield from (
                inner.id
                for inner in ast.walk(node)
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )


class _Splitter(ast.NodeTransformer):
    """Replaces the largest expressions rooted in a name of the program."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._local: set[str] = set()
        self.calls: list[str] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and self._belongs_to_program(node):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if names & self._local:
                raise NotSeparable(f"{ast.unparse(node)!r} depends on variables of the test")
            self.calls.append(ast.unparse(node))
            return ast.Name(f"_{len(self.calls) - 1}", ast.Load())
        if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
            return self._visit_inside(node, [g.target for g in node.generators])
        if isinstance(node, ast.Lambda):
            every = node.args
            named = [*every.posonlyargs, *every.args, *every.kwonlyargs]
            return self._visit_inside(node, named + [a for a in (every.vararg, every.kwarg) if a])
        return super().visit(node)

    def _visit_inside(self, node: ast.AST, targets: list[ast.expr] | list[ast.arg]) -> ast.AST:
        outer = self._local
        inner = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        self._local = outer | inner | {t.arg for t in targets if isinstance(t, ast.arg)}
        try:
            return super().generic_visit(node)
        finally:
            self._local = outer

    def _belongs_to_program(self, node: ast.expr) -> bool:
        """Whether the root of an expression is a name that nothing but the program binds."""
        while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            node = node.func if isinstance(node, ast.Call) else node.value
        return (
            isinstance(node, ast.Name) and node.id not in self._known and node.id not in self._local
        )
