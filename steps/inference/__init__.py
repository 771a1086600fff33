"""The step of the inference pipeline, and what a deployment of it is made of."""

from steps.inference.run_single_inference import run_single_inference

__all__ = ["run_single_inference"]
