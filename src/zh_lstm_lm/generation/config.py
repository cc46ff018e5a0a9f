"""SamplerConfig: how tokens are drawn, and what of Hugging Face's `GenerationConfig` it understands."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import Self, override

from zh_lstm_lm._config import Config, check_integer, check_number, check_type
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.generation.logits_processors import LogitsProcessor

__all__ = ["SamplerConfig", "cutoff_processors", "history_processors", "history_window"]

_SAY_NOTHING_HERE = {"bos_token_id", "pad_token_id", "eos_token_id", "transformers_version", "use_cache"}
_NEUTRAL: dict[str, Any] = {  # what changes nothing in Hugging Face's library
    "max_length": 20,
    "min_length": 0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "length_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
}
_ELSEWHERE = {
    "max_new_tokens": "a limit of one text; give it to generate(max_new_tokens=…)",
    "min_new_tokens": "a limit of one text; give it to generate(min_new_tokens=…)",
    "max_length": "a limit of one text, with the prompt; give generate(max_new_tokens=…)",
    "min_length": "a limit of one text, with the prompt; give generate(min_new_tokens=…)",
    "max_time": "a limit of one text; give it to generate(max_time=…)",
    "stop_strings": "a limit of one text; give it to generate(stop=…)",
    "num_beams": "beam search is a method of its own: sampler.beam_search(num_beams=…)",
    "length_penalty": "it belongs to beam search: sampler.beam_search(length_penalty=…)",
    "early_stopping": "it belongs to beam search, which ends when no open beam can overtake the finished ones",
    "num_return_sequences": "give generate_batch(prompts, num_samples=…)",
    "bad_words_ids": "ids belong to another vocabulary; give banned_words, which are text",
    "suppress_tokens": "ids belong to another vocabulary; give banned_words, which are text",
    "sequence_bias": "ids belong to another vocabulary; give word_bias, which maps words",
}
_NOT_HERE = {
    *("penalty_alpha", "dola_layers", "diversity_penalty", "num_beam_groups", "constraints", "force_words_ids"),
    *("guidance_scale", "watermarking_config", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size"),
    *("forced_bos_token_id", "forced_eos_token_id", "begin_suppress_tokens", "exponential_decay_length_penalty"),
    *("remove_invalid_values", "renormalize_logits", "token_healing", "low_memory", "cache_implementation"),
    *("cache_config", "return_dict_in_generate", "output_scores", "output_logits", "output_attentions"),
    *("output_hidden_states", "assistant_confidence_threshold", "num_assistant_tokens", "prompt_lookup_num_tokens"),
    *("num_assistant_tokens_schedule", "max_matching_ngram_size", "assistant_early_exit", "decoder_start_token_id"),
    *("is_assistant", "compile_config", "disable_compile", "prefill_chunk_size", "generation_kwargs"),
    *("assistant_lookbehind", "target_lookbehind", "continuous_batching_config"),
}


@dataclass(frozen=True)
class SamplerConfig(Config):
    """How tokens are drawn. Names and neutral values are those of Hugging Face's `GenerationConfig` where it has them.

    Attributes:
        temperature: Under 1 likely words become likelier; 1 changes nothing, 0 always takes the likeliest.
        top_k: Draws only from the likeliest `top_k` tokens; 0 draws from all.
        top_p: Draws only from the likeliest tokens that together have this probability; 1 draws from all.
        min_p: Draws only tokens with at least this share of the likeliest one's probability; 0 draws from all.
        typical_p: Draws only the tokens nearest to the expected surprisal that together have this probability; 1 draws
            from all.
        top_h: Draws only from as many of the likeliest tokens as have, among themselves, at most this share of the
            entropy of all, as in the paper of top-H; 1 draws from all.
        epsilon_cutoff: Draws only tokens of at least this probability; 0 draws from all.
        eta_cutoff: As `epsilon_cutoff`, but lower where the model is unsure; 0 draws from all.
        repetition_penalty: Above 1, tokens that occurred become less likely; 1 changes nothing.
        frequency_penalty: Taken off the logit of a token for each time it occurred; 0 changes nothing.
        presence_penalty: Taken off the logit of a token that occurred; 0 changes nothing.
        penalty_window: Latest tokens that the three penalties and `no_repeat_ngram_size` look at, the prompt included;
            None looks at all, which a long text must then keep.
        no_repeat_ngram_size: No n-gram of this size comes twice; 0 lets them.
        banned_words: Words that are never written.
        word_bias: Words of the vocabulary, and what is added to their logits; 0 changes nothing.
        balanced_pairs: Quotes and brackets that open are closed, in order and in their paragraph (a text that reaches
            its limit closes what is open with its last words); none closes that is not open, nor right after a colon or
            an opening mark; False lets them be.
        tidy_paragraphs: No paragraph begins with closing punctuation, such as a full stop; False lets it.
        seed: What the draws come from; equal seeds give equal text.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    typical_p: float = 1.0
    top_h: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int | None = None
    no_repeat_ngram_size: int = 0
    banned_words: Sequence[str] = ()
    word_bias: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    balanced_pairs: bool = True
    tidy_paragraphs: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_integer("top_k", self.top_k, minimum=0)
        for name in ("top_p", "typical_p", "top_h"):
            check_number(name, getattr(self, name), maximum=1.0)
            if getattr(self, name) == 0:
                raise ConfigError(f"{name} must be above 0, got 0; temperature=0 always takes the likeliest token")
        for name in ("min_p", "epsilon_cutoff", "eta_cutoff"):
            check_number(name, getattr(self, name), maximum=1.0)
        check_number("repetition_penalty", self.repetition_penalty, exclusive=True)
        for name in ("frequency_penalty", "presence_penalty"):
            check_number(name, getattr(self, name), minimum=-1e6)
        check_integer("penalty_window", self.penalty_window, minimum=1, optional=True)
        check_integer("no_repeat_ngram_size", self.no_repeat_ngram_size, minimum=0)
        check_type("balanced_pairs", self.balanced_pairs, bool)
        check_type("tidy_paragraphs", self.tidy_paragraphs, bool)
        if isinstance(self.banned_words, str) or not isinstance(self.banned_words, (list, tuple)):
            raise ConfigError(f"banned_words must be a list of words, got {self.banned_words!r}")
        for word in self.banned_words:
            if not isinstance(word, str) or not word:
                raise ConfigError(f"banned_words must hold strings that are not empty, got {word!r}")
        object.__setattr__(self, "banned_words", tuple(self.banned_words))
        pairs = self.word_bias.items() if isinstance(self.word_bias, Mapping) else self.word_bias
        if isinstance(pairs, str) or not isinstance(pairs, Collection):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r}")
        if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r}")
        biases = {word: bias for word, bias in pairs if isinstance(word, str)}
        if len(biases) != len(pairs):
            raise ConfigError(f"word_bias must map words, each once, to numbers, got {self.word_bias!r}")
        for word, bias in biases.items():
            check_number(f"word_bias of {word!r}", bias, minimum=-1e6)
        object.__setattr__(self, "word_bias", tuple(biases.items()))  # fixed, as a config is
        check_integer("seed", self.seed, minimum=0, maximum=2**63 - 1)

    @classmethod
    @override
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Builds the config from `to_dict`'s output, or from the fields of Hugging Face's `GenerationConfig`.

        ``do_sample=False`` is a temperature of 0. Fields of that class which nothing here answers to are passed over
        where they are None or neutral, and so are ids of special tokens and versions.

        Raises:
            ConfigError: An unknown name, a value that is out of range, or a field of `GenerationConfig` that means
                something else here; the message says what to do in its place.
        """
        if not isinstance(options, Mapping):
            raise ConfigError(f"{cls.__name__} needs a mapping of options, got {options!r}")
        own = {str(name): value for name, value in options.items()}
        do_sample = own.pop("do_sample", None)
        check_type("do_sample", do_sample, bool, type(None))
        for name in list(own):
            if own[name] is None or name.startswith("_") or name in _SAY_NOTHING_HERE:
                del own[name]
            elif name in _ELSEWHERE or name in _NOT_HERE:
                value = own.pop(name)
                if value != _NEUTRAL.get(name, value if value in (False, 0, (), [], {}) else None):
                    why = _ELSEWHERE.get(name, "nothing here answers to it; leave it out")
                    raise ConfigError(f"SamplerConfig does not take GenerationConfig's {name}={value!r}: {why}")
        if do_sample is False:
            own["temperature"] = 0.0
        return super().from_dict(own)


def history_processors(config: SamplerConfig, vocabulary: Vocabulary, tokens: Sequence[str]) -> list[LogitsProcessor]:
    """Builds the processors that look at the words so far; none where all of it is neutral.

    Args:
        config: How tokens are drawn.
        vocabulary: The model's vocabulary.
        tokens: The text of each id.

    Raises:
        ConfigError: A word with a bias is not in the vocabulary.
    """
    window = config.penalty_window
    processors: list[LogitsProcessor] = []
    if config.repetition_penalty != 1:
        processors.append(logits_processors.repetition_penalty(config.repetition_penalty, window=window))
    if config.frequency_penalty or config.presence_penalty:
        processors.append(
            logits_processors.occurrence_penalties(config.frequency_penalty, config.presence_penalty, window=window)
        )
    if config.word_bias:
        bias = torch.zeros(len(tokens))
        for word, value in dict(config.word_bias).items():
            if word not in vocabulary:
                raise ConfigError(f"word_bias: {word!r} is not in the vocabulary; only whole words have a bias")
            bias[vocabulary.token_to_id(word)] = value
        processors.append(logits_processors.token_bias(bias))
    if config.no_repeat_ngram_size:
        processors.append(logits_processors.no_repeat_ngrams(config.no_repeat_ngram_size, window=window))
    if config.banned_words:
        processors.append(logits_processors.banned_words(config.banned_words, tokens))
    return processors


def history_window(config: SamplerConfig, *, own_processors: bool) -> int | None:
    """Returns how many of the latest ids the processors look at; None for all.

    Args:
        config: How tokens are drawn.
        own_processors: Whether there are processors of the user's, which look at all.
    """
    longest = max(map(len, config.banned_words), default=1)
    looks_back = config.repetition_penalty != 1 or config.frequency_penalty or config.presence_penalty
    if own_processors or ((looks_back or config.no_repeat_ngram_size) and config.penalty_window is None):
        return None
    if looks_back or config.no_repeat_ngram_size:
        return max(longest, config.penalty_window or 1)
    return longest


def cutoff_processors(config: SamplerConfig) -> list[LogitsProcessor]:
    """Builds temperature and cut-offs, in the order in which they are applied."""
    return [
        logits_processors.temperature(config.temperature),
        logits_processors.top_k(config.top_k),
        logits_processors.top_p(config.top_p),
        logits_processors.min_p(config.min_p),
        logits_processors.typical_p(config.typical_p),
        logits_processors.top_h(config.top_h),
        logits_processors.epsilon_cutoff(config.epsilon_cutoff),
        logits_processors.eta_cutoff(config.eta_cutoff),
    ]
