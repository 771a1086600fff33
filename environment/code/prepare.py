"""The data pipeline's work, independent of ZenML: one file of verified problems."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environment.base import SplitReport, StrictModel
from environment.code import sources
from environment.code.config import CodeDataConfig, SandboxConfig
from environment.code.grader import grade
from environment.code.models import CodeProblem, Verdict
from environment.code.sandbox.base import Sandbox
from environment.code.sandbox.choice import open_sandbox
from environment.code.sources import ProblemError
from environment.jsonl import write_jsonl
from environment.package import Work

log = logging.getLogger(__name__)


class ProblemSettings(StrictModel):
    """The settings that determine the problems, and where their solutions run."""

    data: CodeDataConfig
    sandbox: SandboxConfig


def load_problems(work: Work, settings: ProblemSettings) -> dict[str, Any]:
    """The stage: see ``make_problems``."""
    report = make_problems(settings.data, settings.sandbox, work.out)
    return {"source": settings.data.source, **report.model_dump()}


def make_problems(config: CodeDataConfig, sandbox: SandboxConfig, file: Path) -> SplitReport:
    """Write the usable problems of the configured source to ``file``.

    Args:
        sandbox: runs the problems' own solutions, with ``config.verify``.

    Raises:
        ProblemError: the source cannot be read, or a split has no usable problem.
        SandboxUnavailable: solutions must run, but the sandbox cannot run here.
        SandboxError: the sandbox failed.
    """
    skipped: Counter[str] = Counter()
    problems = sources.load_problems(config, skipped)
    if config.verify:
        problems = _verified(problems, sandbox, skipped)
    counts = Counter(problem.split for problem in problems)
    if not counts["train"] or not counts["test"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.items())
        raise ProblemError(f"a split has no usable problem left ({reasons})")
    write_jsonl(file, problems)
    return SplitReport(train=counts["train"], test=counts["test"], skipped=dict(skipped))


def _verified(
    problems: Sequence[CodeProblem], config: SandboxConfig, skipped: Counter[str]
) -> list[CodeProblem]:
    """Drop problems whose own solution fails a test: nothing can be learned from them."""
    with_solution = [problem for problem in problems if problem.solution]
    verdicts = asyncio.run(_verdicts(open_sandbox(config), with_solution, config.workers))
    failed = {problem.id for problem, v in zip(with_solution, verdicts, strict=True) if v}
    for verdict in filter(None, verdicts):
        skipped[f"solution_{verdict}"] += 1
    return [problem for problem in problems if problem.id not in failed]


async def _verdicts(
    sandbox: Sandbox, problems: Sequence[CodeProblem], workers: int
) -> list[Verdict | None]:
    """For each problem, why its solution fails, or None if it passes."""
    slots = asyncio.Semaphore(workers)

    async def one(problem: CodeProblem) -> Verdict | None:
        tests = (*problem.visible_tests, *problem.hidden_tests)
        async with slots:
            graded = await grade(sandbox, problem, problem.solution, tests, {"problem": problem.id})
        verdict = graded.attempt.verdict
        if verdict is not Verdict.PASSED:
            log.info("skipped %s: its solution fails: %s", problem.id, graded.attempt.feedback)
        return None if verdict is Verdict.PASSED else verdict

    try:
        return list(await asyncio.gather(*(one(problem) for problem in problems)))
    finally:
        await sandbox.close()
