"""Steps of the training pipeline."""

from steps.training.setup_art_model import setup_art_model
from steps.training.train_agent import train_agent

__all__ = ["setup_art_model", "train_agent"]
