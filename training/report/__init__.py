"""Reports as static HTML: inline SVG, no script, nothing loaded from outside.

ZenML's dashboard shows HTML in a sandboxed frame without JavaScript, and a file opened years later
must still show everything.
"""

from training.report.evaluation import evaluation_report
from training.report.training import Sample, training_report

__all__ = ["Sample", "evaluation_report", "training_report"]
