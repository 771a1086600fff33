"""Worker of ``benchmarks.vs_trl``: TRL's ``GRPOTrainer`` with its own agent loop.

TRL 1.16 has no way for a tool to end an episode: after every call it generates again. The answer
call is therefore kept from it (by the tokenizer's response schema, whose regular expression finds
the calls): a reply with that call is the last one, and the reward function runs the call. Without
this TRL would have to sample a turn more than ours does.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase, TrainerCallback
from transformers import logging as transformers_logging
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_schema

from benchmarks._vs_trl_common import Pipe, StepFigures, Stopwatch, Task, use_cpus
from benchmarks._vs_trl_inbox import Inbox
from environment.email_search.tools import ANSWER

# The first line is TRL's defaults. What differs from them in both (float32, no checkpoints, no
# trackers) is in ``trainer_of``.
VARIANTS: dict[str, dict[str, Any]] = {
    "trl_defaults": {"per_device_train_batch_size": 8, "gradient_checkpointing": True},
    "trl_tuned": {"per_device_train_batch_size": 16, "gradient_checkpointing": False},
}
_ASSISTANT = "<|im_start|>assistant\n"


class Meter:
    """The figures of the step under way."""

    def __init__(self) -> None:
        self.figures = StepFigures()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.figures.spent(part, time.perf_counter() - started)


class MeteredTrainer(GRPOTrainer):
    """``GRPOTrainer`` with a clock around its parts; it changes nothing of what they do."""

    def __init__(self, meter: Meter, **arguments: Any) -> None:
        self._meter = meter
        super().__init__(**arguments)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        self._meter.figures.prefilled_tokens += sum(map(len, prompt_ids))
        with self._meter.timed("generate"):
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)

    def _generate(self, prompts: list[Any]) -> Any:
        result = super()._generate(prompts)
        prompt_ids, completion_ids, written, completions = result[:4]
        figures = self._meter.figures
        figures.rollouts = figures.trained_rollouts = len(completions)
        figures.turns = fmean(_turns(completion) for completion in completions)
        figures.length = fmean(map(len, prompt_ids)) + fmean(map(len, completion_ids))
        figures.sampled_tokens = figures.trained_tokens = sum(map(sum, written))
        return result

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        with self._meter.timed("rollout"):
            return super()._generate_and_score_completions(inputs)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self._meter.figures.positions += inputs["prompt_ids"].numel()
        self._meter.figures.positions += inputs["completion_ids"].numel()
        return super().compute_loss(model, inputs, *args, **kwargs)


class StepByStep(TrainerCallback):
    """Lets the trainer take a step when it is asked for, and reports it."""

    def __init__(self, meter: Meter, pipe: Pipe) -> None:
        self._meter, self._pipe = meter, pipe
        self._watch = Stopwatch()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._pipe.wait()
        self._meter.figures = StepFigures()
        self._watch = Stopwatch()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        figures = self._meter.figures
        self._watch.read(figures)
        figures.parts["train"] = figures.seconds - figures.parts.pop("rollout")
        self._pipe.send(asdict(figures))


def _turns(completion: Sequence[dict[str, Any]]) -> int:
    return sum(message["role"] == "assistant" for message in completion)


def load_tokenizer(base_model: str) -> PreTrainedTokenizerBase:
    """The policy's tokenizer, with the schema by which TRL finds calls in its replies.

    TRL checks that the tokens of a conversation that ends with the assistant begin those of a longer
    one. The pocket tokenizer has one token for a line break and the next turn's head, so that break
    must not be written before there is a next turn; no other rendering changes.
    """
    tokenizer = AutoTokenizer.from_pretrained(base_model, padding_side="left")
    before, end, after = tokenizer.chat_template.rpartition(r"{{- '<|im_end|>\n' }}")
    if end:
        end = r"{{- '<|im_end|>' + ('\n' if not loop.last or add_generation_prompt else '') }}"
    tokenizer.chat_template = before + end + after
    schema = copy.deepcopy(qwen3_schema)
    schema["properties"]["tool_calls"]["x-regex-iterator"] = (
        rf'<tool_call>(?!\s*{{"name": "{ANSWER}")\s*(.+?)\s*</tool_call>'
    )
    tokenizer.response_schema = schema
    return tokenizer


def reward_function(tokenizer: PreTrainedTokenizerBase, meter: Meter) -> Any:
    def reward(
        completions: list[Any], completion_ids: list[list[int]], environments: list[Inbox], **_: Any
    ) -> list[float]:
        rewards = []
        for messages, ids, inbox in zip(completions, completion_ids, environments, strict=True):
            ended = ids[-1] == tokenizer.eos_token_id
            last_reply = tokenizer.decode(ids[:-1] if ended else ids).split(_ASSISTANT)[-1]
            rewards.append(inbox._score(last_reply, _turns(messages), ended))
        meter.figures.success = fmean(reward.success for reward in rewards)
        return [reward.value for reward in rewards]

    return reward


def trainer_of(task: Task, variant: str, meter: Meter, callback: StepByStep) -> GRPOTrainer:
    config, environment = task.parsed_config(), task.environment()
    scenarios = task.scenarios(environment)
    prompts = [_prompt(environment.system_prompt, environment.session(s)) for s in scenarios]
    settings = VARIANTS[variant]
    training, rollout, lora = config.training, config.rollout, config.backend.lora
    per_step = training.groups_per_step * training.rollouts_per_group
    arguments = GRPOConfig(
        output_dir=str(Path(task.folder) / variant),
        **settings,
        gradient_accumulation_steps=per_step // settings["per_device_train_batch_size"],
        num_generations=training.rollouts_per_group,
        max_completion_length=rollout.max_tokens,
        # TRL's bound is on the whole conversation; this one is on each reply, as ours.
        generation_kwargs={"max_new_tokens": rollout.max_reply_tokens},
        max_tool_calling_iterations=rollout.max_turns - 1,
        temperature=1.0,
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant",
        max_steps=task.steps,
        shuffle_dataset=False,
        use_cpu=True,
        bf16=False,  # its default is bfloat16; float32 is what ours trains in
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=task.seed,
    )
    tokenizer = load_tokenizer(config.backend.base_model)
    return MeteredTrainer(
        meter,
        model=config.backend.base_model,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": prompts, "scenario": range(len(prompts))}),
        reward_funcs=reward_function(tokenizer, meter),
        environment_factory=lambda: Inbox(
            environment, scenarios, lambda: meter.timed("environment")
        ),
        peft_config=LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[callback],
    )


def _prompt(system_prompt: str, session: Any) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": system_prompt},
        {"role": "user", "content": session.user_prompt},
    ]


def main() -> None:
    pipe, meter = Pipe(), Meter()
    task = Task.read(Path(sys.argv[1]))
    use_cpus(task.threads)
    torch.set_num_threads(task.threads)
    transformers_logging.disable_progress_bar()
    trainer = trainer_of(task, sys.argv[2], meter, StepByStep(meter, pipe))
    pipe.send({"ready": f"trl {version('trl')}, torch {version('torch')}"})
    trainer.train()


if __name__ == "__main__":
    main()
