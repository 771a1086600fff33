"""The command line of art-rl: ``python run.py --help``.

Module imports are limited to the standard library, so that ``--help`` is fast.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pipelines.config import ProjectConfig
    from pipelines.launch import Run

ROOT = Path(__file__).resolve().parent
DEFAULT_CONFIG = Path("configs/laptop.yaml")
PIPELINES = {
    "data": ("data",),
    "train": ("train",),
    "eval": ("eval",),
    "all": ("data", "train", "eval"),
    "deploy": (),
    "rollback": (),
}
SERVICES = ("deploy", "rollback")
USAGE_ERROR, INTERRUPTED = 2, 130


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Train, evaluate and deploy a tool-using agent with reinforcement learning.",
        epilog="The default configuration is the laptop profile: sample mails, a small policy, the CPU, "
        "no keys and no downloads. See configs/ for others.",
    )
    parser.add_argument("--pipeline", choices=PIPELINES, required=True)
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help="a YAML file; repeatable, later files win (default: configs/laptop.yaml)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a single setting, such as training.max_steps=20; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="determines all randomness")
    parser.add_argument(
        "--name",
        help="name of the run and its folder runs/NAME; the same name continues a run (default: the "
        "time). With deploy and rollback: name of the deployment (default: email-agent)",
    )
    parser.add_argument(
        "--model-version",
        help="version to evaluate (default: the newest trained) or deploy (default: the one in "
        "production)",
    )
    parser.add_argument(
        "--rescore",
        metavar="RUN_OR_FILE",
        help="with --pipeline eval: rescore the rollouts of an earlier evaluation, without new ones",
    )
    parser.add_argument(
        "--dry-run",
        nargs="?",
        const="plan",
        choices=("plan", "rollouts"),
        help="plan (the default): show what would run where, its maximal cost and what is missing, and "
        "do nothing. rollouts, with --pipeline train: run the rollouts of the training steps without "
        "training",
    )
    parser.add_argument(
        "--model",
        help="with --dry-run rollouts: another model, by its LiteLLM name (openai/gpt-4.1)",
    )
    parser.add_argument(
        "--base-url", help="with --model: an OpenAI-compatible server of it, such as vLLM"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show messages of ZenML and other libraries, too"
    )
    parser.add_argument("--no-cache", action="store_true", help="run cached data steps again")
    arguments = parser.parse_args()
    if arguments.rescore and arguments.pipeline != "eval":
        parser.error("--rescore: only with --pipeline eval")
    if arguments.dry_run == "rollouts" and arguments.pipeline != "train":
        parser.error("--dry-run rollouts: only with --pipeline train")
    if arguments.model and arguments.dry_run != "rollouts":
        parser.error("--model: only with --dry-run rollouts; backend.base_model is what is trained")
    if arguments.base_url and not arguments.model:
        parser.error("--base-url: only with --model")
    arguments.cwd = Path.cwd()
    # Relative to the caller's folder; everything else is relative to the project.
    arguments.config = [file.absolute() for file in arguments.config or []]
    default_name = (
        "email-agent" if arguments.pipeline in SERVICES else time.strftime("%Y%m%d-%H%M%S")
    )
    arguments.name = arguments.name or default_name
    if not arguments.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        parser.error("--name: letters, digits, dots, dashes and underscores only")
    return arguments


def main() -> int:
    arguments = parse_arguments()
    os.chdir(ROOT)
    _prepare_process()
    try:
        from environment.base import UserError
    except ModuleNotFoundError as error:
        _fail(
            f"there is no module {error.name}: activate the project's environment "
            "(. .venv/bin/activate), or pip install -r requirements.txt"
        )
    from pipelines import rehearsal
    from pipelines.config import load_config
    from pipelines.console import keep_log, quiet_console
    from pipelines.launch import Run
    from pipelines.preflight import preflight
    from pipelines.readiness import checks
    from pipelines.rescoring import find_rollouts

    parts = PIPELINES[arguments.pipeline]
    if not arguments.verbose:
        quiet_console()
    try:
        config = load_config(arguments.config or [DEFAULT_CONFIG], arguments.set)
        if arguments.dry_run == "plan":
            return _dry_run(config, arguments.pipeline)
        if arguments.pipeline in SERVICES:
            return _serve(config, arguments)
        if arguments.rescore:
            for run_check in checks(config, (), ("judge_answers",)):
                run_check()
            arguments.rescore = find_rollouts(arguments.rescore, ROOT / "runs", arguments.cwd)
        elif arguments.dry_run:
            arguments.model = rehearsal.preflight(config, arguments.model, arguments.base_url)
        else:
            preflight(config, parts)
    except UserError as error:
        _fail(str(error))
    folder = ROOT / "runs" / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    keep_log(folder)
    run = Run(config, arguments.pipeline, arguments.name, arguments.seed, folder)
    return _run_parts(run, parts, arguments)


def _dry_run(config: ProjectConfig, pipeline: str) -> int:
    from pipelines.dry_run import lines

    for line in lines(config, pipeline, PIPELINES[pipeline] or (pipeline,)):
        print(line)
    return 0


def _serve(config: ProjectConfig, arguments: argparse.Namespace) -> int:
    from pipelines.deploy import run_deploy, run_rollback
    from pipelines.deployed import lines

    if arguments.pipeline == "rollback":
        deployed = run_rollback(config, arguments.name)
    else:
        deployed = run_deploy(config, arguments.name, arguments.model_version)
    for line in lines(deployed):
        print(line)
    return 0


def _run_parts(run: Run, parts: tuple[str, ...], arguments: argparse.Namespace) -> int:
    from environment.base import UserError
    from pipelines import launch
    from pipelines.placement import active_stack
    from pipelines.rehearsal import run_rehearsal
    from pipelines.rescoring import run_rescore
    from training.run.signals import Interrupted

    try:
        with active_stack(run.config.stack):
            for part in parts:
                print(part, flush=True)
                if part == "data":
                    launch.run_data(run, use_cache=not arguments.no_cache)
                elif arguments.dry_run:
                    run_rehearsal(run, arguments.model, partial(print, flush=True))
                elif part == "train":
                    launch.run_train(run)
                elif arguments.rescore:
                    run_rescore(run, arguments.rescore)
                else:
                    launch.run_eval(run, arguments.model_version)
    except Interrupted as error:
        run.write_summary("interrupted")
        print(f"\n{error}", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        run.write_summary("failed")
        _fail(str(error))
    except BaseException:
        run.write_summary("failed")
        raise
    run.write_summary("completed")
    _print_summary(run)
    return 0


def _prepare_process() -> None:
    # Threads that spin while waiting would take CPU time from the agents.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _print_summary(run: Run) -> None:
    from pipelines.summary_table import lines

    for line in lines(run.summary, run.folder.relative_to(ROOT)):
        print(line)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


if __name__ == "__main__":
    sys.exit(main())
