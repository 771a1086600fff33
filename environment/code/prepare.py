"""The work of the data pipeline, free of any pipeline: problems, checked, in one file."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment.base import StrictModel
from environment.code import sources
from environment.code.config import CodeDataConfig, SandboxConfig
from environment.code.grader import grade
from environment.code.models import CodeProblem, Verdict
from environment.code.sandbox.base import Sandbox
from environment.code.sandbox.choice import open_sandbox
from environment.code.sources import ProblemError, ProblemReport, write_problems
from environment.package import Work

log = logging.getLogger(__name__)


class ProblemSettings(StrictModel):
    """What decides which problems there are, and where their solutions run."""

    data: CodeDataConfig
    sandbox: SandboxConfig


def load_problems(work: Work, settings: ProblemSettings) -> dict[str, Any]:
    """The stage: see ``make_problems``."""
    report = make_problems(settings.data, settings.sandbox, work.out)
    return {"source": settings.data.source, **report.model_dump()}


def make_problems(config: CodeDataConfig, sandbox: SandboxConfig, file: Path) -> ProblemReport:
    """Write the usable problems of the configured source to ``file``.

    Args:
        sandbox: where their own solutions run, if they are to be verified.

    Raises:
        ProblemError: the source cannot be read, or nothing of it is usable.
        SandboxUnavailable: solutions are to be run, and nothing can run them safely.
        SandboxError: the sandbox failed.
    """
    skipped: Counter[str] = Counter()
    problems = sources.load_problems(config, skipped)
    if config.verify:
        problems = _verified(problems, sandbox, skipped)
    counts = Counter(problem.split for problem in problems)
    if not counts["train"] or not counts["test"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items())
        raise ProblemError(f"no usable problem is left of a split ({reasons})")
    write_problems(file, problems)
    return ProblemReport(train=counts["train"], test=counts["test"], skipped=dict(skipped))


def _verified(
    problems: Sequence[CodeProblem], config: SandboxConfig, skipped: Counter[str]
) -> list[CodeProblem]:
    """Those whose own solution passes all their tests; nothing can be learned from the others."""
    with_solution = [problem for problem in problems if problem.solution]
    verdicts = asyncio.run(_verdicts(open_sandbox(config), with_solution, config.workers))
    failed = {problem.id for problem, v in zip(with_solution, verdicts, strict=True) if v}
    for verdict in filter(None, verdicts):
        skipped[f"solution_{verdict}"] += 1
    return [problem for problem in problems if problem.id not in failed]


async def _verdicts(
    sandbox: Sandbox, problems: Sequence[CodeProblem], workers: int
) -> list[Verdict | None]:
    """Per problem why its solution fails; None if it does not."""
    slots = asyncio.Semaphore(workers)

    async def one(problem: CodeProblem) -> Verdict | None:
        tests = (*problem.visible_tests, *problem.hidden_tests)
        async with slots:
            graded = await grade(sandbox, problem, problem.solution, tests, {"problem": problem.id})
        verdict = graded.attempt.verdict
        if verdict is not Verdict.PASSED:
            log.info("left out %s: its solution fails: %s", problem.id, graded.attempt.feedback)
        return None if verdict is Verdict.PASSED else verdict

    try:
        return list(await asyncio.gather(*(one(problem) for problem in problems)))
    finally:
        await sandbox.close()
