"""Judges: language models that score an agent's behaviour."""

from agent.judge.config import JudgeConfig
from agent.judge.correctness import CorrectnessJudge, Verdict
from agent.judge.ranks import rank_correlation
from agent.judge.ruler import Judged, RulerJudge
from agent.judge.scoring import Scored, Trajectory, TrajectoryJudge, TrajectoryScore

__all__ = [
    "CorrectnessJudge",
    "JudgeConfig",
    "Judged",
    "RulerJudge",
    "Scored",
    "Trajectory",
    "TrajectoryJudge",
    "TrajectoryScore",
    "Verdict",
    "rank_correlation",
]
