"""Build the pocket policy: ``python -m models.pocket.build --out FOLDER``.

Two phases. First *skill*: the scripted expert alone, until the policy copies and chooses well.
Then *habits*: a short training on a mixture in which the expert is outnumbered, which leaves the
skill in place and spoils the behaviour. Reinforcement learning has the second to mend.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen2ForCausalLM

from models.pocket.demos import demonstrate, worlds
from models.pocket.sft import train
from models.pocket.tokenizer import train_tokenizer
from models.pocket.wire import pocket_config, wired_model

log = logging.getLogger(__name__)

# Seeds of worlds; the sample corpus of a user's run has small seeds, so none is shared.
_TOKENIZER_WORLDS, _SKILL_WORLDS, _HABIT_WORLDS = 1_000_000, 2_000_000, 3_000_000
_EPISODES_PER_INBOX = 60


def build_tokenizer() -> PreTrainedTokenizerBase:
    rng = random.Random(0)
    texts: list[str] = []
    for environment, inboxes in worlds(_TOKENIZER_WORLDS, 12):
        for inbox in inboxes:
            pairs = list(zip(inbox.scenarios, inbox.facts, strict=True))
            for scenario, fact in rng.sample(pairs, _EPISODES_PER_INBOX):
                demo = demonstrate(environment, scenario, fact, rng, good=0.6)
                texts += [demo.user_prompt, *(turn.text for turn in demo.turns)]
    return train_tokenizer(texts)


def _save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--skill", type=Path, help="take the skill phase from this folder")
    parser.add_argument("--skill-steps", type=int, default=6000)
    parser.add_argument("--habit-steps", type=int, default=250)
    parser.add_argument("--good", type=float, default=0.35, help="the expert's share of phase two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()

    if arguments.skill:
        tokenizer = AutoTokenizer.from_pretrained(arguments.skill)
        model = Qwen2ForCausalLM.from_pretrained(arguments.skill, dtype=torch.float32)
    else:
        tokenizer = build_tokenizer()
        config = pocket_config(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
        model = wired_model(config, arguments.seed)
        log.info("skill phase, %d parameters", model.num_parameters())
        train(
            model,
            tokenizer,
            steps=arguments.skill_steps,
            good=1.0,
            first_seed=_SKILL_WORLDS + 100_000 * arguments.seed,
            matrix_rate=0.02,
            other_rate=2e-3,
        )
        _save(model, tokenizer, arguments.out / "skill")
    log.info("habit phase")
    train(
        model,
        tokenizer,
        steps=arguments.habit_steps,
        good=arguments.good,
        first_seed=_HABIT_WORLDS + 100_000 * arguments.seed,
        matrix_rate=0.004,
        other_rate=4e-4,
    )
    _save(model.to(torch.bfloat16), tokenizer, arguments.out)
    minutes = (time.monotonic() - started) / 60
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
    record = settings | {"minutes": round(minutes, 1)}
    (arguments.out / "build.json").write_text(json.dumps(record, indent=2) + "\n")
    log.info("done in %.1f minutes", minutes)


if __name__ == "__main__":
    main()
