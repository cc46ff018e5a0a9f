"""Checks that a tokenizer fits the text: pre-segmented text, and the words of a user dictionary."""

import logging
import re
from collections.abc import Sequence

from torch import Tensor

from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.text.normalization import normalize_text
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.registry import restore_tokenizer

__all__ = ["check_segmentation", "with_normalized_dictionary"]

logger: logging.Logger = get_logger(__name__)

_SAMPLED_TOKENS = 200_000
# Compiled when a corpus is read: a set of so many characters takes milliseconds.
_HAN = "[\u3400-\u9fff\U00020000-\U0003ffff]"
_BLANKS = "[ \t\xa0\u200b\u3000]"
# Blanks, with the marks of subwords or without; a tag of the part of speech with or without blanks after it; a stroke.
_GAP = f"(?<={_HAN})(?:(?:@@|{_BLANKS}*\u2581)?{_BLANKS}+(?:##)?|[/_#|][A-Za-z]{{1,5}}{_BLANKS}*|{_BLANKS}*[/|\u2581]{_BLANKS}*)(?={_HAN})"
# Running Chinese text has almost no spaces between Han characters; in segmented text nearly every word has one.
_MAX_SPACED_PROPORTION = 0.2
_MIN_SPACES = 5
_MAX_WORD_CHARACTERS = 6
_SHOWN_WORDS = 10


def with_normalized_dictionary(tokenizer: LosslessTokenizer, normalize: str) -> LosslessTokenizer:
    """Returns the tokenizer with its user dictionary normalised as the text is, so that its words can occur in it."""
    words = tokenizer.options.get("user_dictionary")
    if tokenizer.name is None or not words:
        return tokenizer
    normalized = {normalize_text(word, normalize): frequency for word, frequency in words.items()}
    if normalized == words:
        return tokenizer
    return restore_tokenizer(tokenizer.name, {**tokenizer.options, "user_dictionary": normalized})


def check_segmentation(tokens: Tensor, lexicon: Sequence[str], tokenizer: LosslessTokenizer) -> None:
    """Warns of segmented text that a segmenter segments again, of unfit separators, and of unused user words."""
    sample = [lexicon[number] for number in tokens[:_SAMPLED_TOKENS].tolist()]
    if tokenizer.separator:
        _check_separator(sample, tokenizer.separator)
    else:
        _check_spaces(sample, tokenizer)
    if user_words := tokenizer.options.get("user_dictionary"):
        known = set(lexicon)
        unused = [word for word, frequency in user_words.items() if frequency != 0 and word not in known]
        if unused:
            logger.warning(
                "user_dictionary: %d of %d words never occur as tokens of the text: %s%s",
                len(unused),
                len(user_words),
                " ".join(unused[:_SHOWN_WORDS]),
                " …" if len(unused) > _SHOWN_WORDS else "",
            )


def _check_spaces(sample: Sequence[str], tokenizer: LosslessTokenizer) -> None:
    han = len(list(filter(re.compile(_HAN).search, sample)))
    gaps = re.findall(_GAP, "".join(sample))
    if len(gaps) < _MIN_SPACES or len(gaps) <= _MAX_SPACED_PROPORTION * han:
        return
    gap = max(set(gaps), key=gaps.count)
    logger.warning(
        "the text has %s between its words, so it is segmented already, and the tokenizer %r segments it again: these "
        "become tokens that are easily predicted, so the metrics look better than they are; to keep the given words, %s",
        "spaces" if not gap.strip() else f"signs such as {gap!r}",
        tokenizer.name or tokenizer.inner,
        _how_to_keep_words(gap),
    )


def _how_to_keep_words(gap: str) -> str:
    option = "" if gap == " " else f", separator={gap!r}"
    if re.fullmatch("[ \t\u3000]+", gap):
        return f"use the tokenizer 'whitespace' (get_tokenizer('whitespace'{option}))"
    return "replace these signs by single spaces and use the tokenizer 'whitespace'"


def _check_separator(sample: Sequence[str], separator: str) -> None:
    extra = sample.count(separator)
    words = list(filter(re.compile(_HAN).search, sample))
    if extra >= _MIN_SPACES and extra > _MAX_SPACED_PROPORTION * len(sample):
        logger.warning(
            "%d of %d tokens are further separators beside the %r between two words; if words are separated by %r, use "
            "get_tokenizer('whitespace', separator=%r)",
            extra,
            len(sample),
            separator,
            2 * separator,
            2 * separator,
        )
    elif len(words) > max(_MIN_SPACES, len(sample) / 5) and sum(map(len, words)) > _MAX_WORD_CHARACTERS * len(words):
        gaps = re.findall(_GAP, "".join(words))
        is_spaced = len(gaps) > len(words)
        logger.warning(
            "the tokens of the tokenizer 'whitespace' have %.0f characters on average, so the words of the text are not "
            "separated by %r; %s",
            sum(map(len, words)) / len(words),
            separator,
            _how_to_keep_words(max(set(gaps), key=gaps.count)) if is_spaced else "use a segmenter such as 'jieba'",
        )
