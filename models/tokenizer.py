"""The small policies' tokenizer: few tokens, and cut for copying.

A policy of three million parameters copies well when what it copies is cut the same way wherever
it stands. So the space before a capital or a digit is a token of its own (``Quasar`` after a quote
and after a space share their tokens), digits go in pairs (alone, where they are calculated with),
and what every episode repeats is one token each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

# All small policies share it; each folder ships its copy.
TEMPLATE = Path(__file__).parent / "pocket" / "chat_template.jinja"
VOCABULARY = 1024
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PIECES = r"\p{Lu}\p{Ll}*| ?\p{Ll}+|\p{N}{1,%d}|[^\s\p{L}\p{N}]+|\s+"


def train_tokenizer(
    texts: Iterable[str], phrases: Sequence[str], digits: int = 2
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most ``VOCABULARY`` tokens over ``texts``, with the chat template.

    Args:
        phrases: text that every episode repeats; each becomes one token.
        digits: that a token holds at most: two are better copied, one is better calculated with.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES % digits), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(phrases),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE.read_text(),
    )
