"""Reports as static HTML: inline SVG, no script, nothing loaded from outside.

ZenML's dashboard shows HTML in a sandboxed frame without JavaScript, and a file opened years later
must still show everything. What it looks like is in ``templates/``.
"""

from training.report.evaluation import evaluation_report
from training.report.training import Sample, training_report
from training.report.versions import Version, model_card

__all__ = ["Sample", "Version", "evaluation_report", "model_card", "training_report"]
