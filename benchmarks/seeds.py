"""The whole demo with several seeds: what it gains, what it costs.

    python -m benchmarks.seeds [--seeds 0 1 2] [--config FILE] [--set KEY=VALUE ...]

Runs ``run.py --pipeline all`` once per seed, each in a ZenML of its own, and prints a row for each:
held-out success sampled and greedy, the paired difference with its interval, the lowest
``probs_corr`` of all steps, seconds and peak memory. A seed decides the mails, the questions, the
adapter's start and the sampling. The run folders stay in ``runs/NAME-N``, with the name of the configuration; they must not exist yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_HEADER = (
    "seed  base sampled  greedy   trained sampled  greedy   difference (interval)      "
    "probs_corr    train s  all s   peak MiB"
)


def run(seed: int, config: Path, settings: list[str]) -> dict[str, Any]:
    """The summary of a demo with this seed."""
    folder = ROOT / "runs" / f"{config.stem}-{seed}"
    if folder.exists():
        raise SystemExit(f"{folder} exists already: remove it first")
    command = [sys.executable, str(ROOT / "run.py"), "--pipeline", "all"]
    command += ["--seed", str(seed), "--name", folder.name, "--config", str(config)]
    command += [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as zenml:
        environment = os.environ | {"ZENML_CONFIG_PATH": zenml}
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    return json.loads((folder / "summary.json").read_text())


def row(summary: dict[str, Any]) -> str:
    evaluation, train = summary["eval"], summary["train"]
    base, trained, gain = evaluation["base"], evaluation["trained"], evaluation["difference"]
    return (
        f"{summary['seed']:<5} {base['sampled']:.3f}         {base['greedy']:.3f}    "
        f"{trained['sampled']:.3f}            {trained['greedy']:.3f}    "
        f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})   "
        f"{train['probs_corr_min']:.5f}       {summary['seconds']['train']:<7.0f} "
        f"{sum(summary['seconds'].values()):<7.0f} {summary['peak_rss_mib']:.0f}"
    )


def by_kind(summaries: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    evaluations = [summary["eval"]["by_kind"] for summary in summaries]
    kinds = sorted({kind for shares in evaluations for kind in shares["base"]})
    return {
        kind: {
            label: fmean(shares[label][kind] for shares in evaluations if kind in shares[label])
            for label in ("base", "trained")
        }
        for kind in kinds
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "laptop.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = arguments.config.absolute()
    summaries = [run(seed, config, arguments.set) for seed in arguments.seeds]
    print(_HEADER)
    for summary in summaries:
        print(row(summary))
    print("\nsampled success by kind of question, mean over seeds\nkind        base   trained")
    for kind, shares in by_kind(summaries).items():
        print(f"{kind:<11} {shares['base']:.3f}  {shares['trained']:.3f}")
    print(json.dumps(summaries))


if __name__ == "__main__":
    main()
