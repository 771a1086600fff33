"""Steps of the evaluation pipeline."""

from steps.evaluation.compute_metrics import compute_metrics
from steps.evaluation.describe_model import describe_model
from steps.evaluation.judge_answers import judge_answers
from steps.evaluation.load_trained_model import load_trained_model
from steps.evaluation.promote import promote
from steps.evaluation.rescore_rollouts import rescore_rollouts
from steps.evaluation.run_inference import run_inference

__all__ = [
    "compute_metrics",
    "describe_model",
    "judge_answers",
    "load_trained_model",
    "promote",
    "rescore_rollouts",
    "run_inference",
]
