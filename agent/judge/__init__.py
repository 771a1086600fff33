"""Judges: language models that score what an agent did."""

from agent.judge.config import JudgeConfig, JudgeFailed, JudgeUnavailable, check_judge
from agent.judge.correctness import CorrectnessJudge, Verdict
from agent.judge.ranks import rank_correlation
from agent.judge.ruler import Judged, RulerJudge
from agent.judge.scoring import Scored, Trajectory, TrajectoryJudge, TrajectoryScore

__all__ = [
    "CorrectnessJudge",
    "JudgeConfig",
    "JudgeFailed",
    "JudgeUnavailable",
    "Judged",
    "RulerJudge",
    "Scored",
    "Trajectory",
    "TrajectoryJudge",
    "TrajectoryScore",
    "Verdict",
    "check_judge",
    "rank_correlation",
]
