"""Steps of the evaluation pipeline."""

from steps.evaluation.compute_metrics import compute_metrics
from steps.evaluation.describe_model import describe_model
from steps.evaluation.load_trained_model import load_trained_model
from steps.evaluation.promote import promote
from steps.evaluation.run_inference import run_inference

__all__ = ["compute_metrics", "describe_model", "load_trained_model", "promote", "run_inference"]
