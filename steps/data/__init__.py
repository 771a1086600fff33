"""Steps of the data pipelines: mails, their database, the scenarios over it; problems; examples."""

from steps.data.create_database import create_database
from steps.data.download_enron_data import download_enron_data
from steps.data.load_examples import load_examples
from steps.data.load_problems import load_problems
from steps.data.load_scenarios import load_scenarios
from steps.data.write_scenarios import write_scenarios

__all__ = [
    "create_database",
    "download_enron_data",
    "load_examples",
    "load_problems",
    "load_scenarios",
    "write_scenarios",
]
