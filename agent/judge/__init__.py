"""Judges: language models that score what an agent did."""

from agent.judge.ruler import JudgeFailed, JudgeUnavailable, RulerJudge, check_judge

__all__ = ["JudgeFailed", "JudgeUnavailable", "RulerJudge", "check_judge"]
