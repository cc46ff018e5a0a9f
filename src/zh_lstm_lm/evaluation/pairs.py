"""Minimal pairs: the proportion in which a model prefers the acceptable sentence to the one that is not."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

from zh_lstm_lm._config import check_integer, check_list, check_number, check_text, shown
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.evaluation.score import check_log_probs
from zh_lstm_lm.evaluation.shared_prefixes import sum_log_probs
from zh_lstm_lm.models.base import LanguageModel, check_model
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["PairAccuracy", "PairGroup", "PairsResult", "check_pair", "compare_pairs"]

Pair: TypeAlias = tuple[str, str] | tuple[str, str, str] | Mapping[str, Any]

# The power of the length in characters by which each measure divides the log-probability.
_EXPONENTS = {"log_prob": 0.0, "per_character": 1.0, "slln": 0.5}
_GROUP = "all"
# A difference that rounding can make is none.
_TIE = 1e-6


@dataclass(frozen=True)
class PairAccuracy:
    """The accuracy by one measure.

    Attributes:
        accuracy: Proportion of pairs in which the good sentence has the higher value; a tie counts as half.
        low: Low end of its confidence interval.
        high: High end.
        ties: Number of pairs whose values are equal, up to rounding.
    """

    accuracy: float
    low: float
    high: float
    ties: int


@dataclass(frozen=True)
class PairGroup:
    """The accuracies of the pairs of one group.

    Attributes:
        name: Its name.
        num_pairs: Number of pairs.
        num_unknown: Number of pairs with a character outside the vocabulary.
        log_prob: By the log-probability of the whole sentence.
        per_character: By the log-probability divided by the number of characters.
        slln: By the log-probability divided by the square root of the number of characters (SLLN-LP with exponent 0.5;
            Liu et al., ZhoBLiMP).
    """

    name: str
    num_pairs: int
    num_unknown: int
    log_prob: PairAccuracy
    per_character: PairAccuracy
    slln: PairAccuracy


@dataclass(frozen=True)
class PairsResult:
    """The result of `compare_pairs`.

    Attributes:
        groups: The groups, in the order of their first pair. The interval of each accuracy is Wilson's (1927).
        macro: The mean of the groups' accuracies, each with equal weight, and the sums of their counts. Its interval
            combines the groups' intervals (MOVER; Zou and Donner, 2008); for a single group it is that group's.
        unknown_characters: Number of pairs with each character outside the vocabulary, the most frequent first.
        confidence: Confidence of the intervals.
        log_probs: Log-probability of the good and of the bad sentence of each pair, in nats.
    """

    groups: tuple[PairGroup, ...]
    macro: PairGroup
    unknown_characters: Mapping[str, int]
    confidence: float
    log_probs: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the groups, their macro average and the unknown characters as plain JSON values."""
        values = asdict(self)
        del values["log_probs"]
        return {**values, "groups": list(values["groups"])}

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns a flat row for each group and for their macro average, the columns of a table."""
        rows = []
        for group in (*self.groups, self.macro):
            row: dict[str, Any] = {"group": group.name, "pairs": group.num_pairs, "unknown": group.num_unknown}
            for measure in _EXPONENTS:
                row |= {f"{measure}_{name}": value for name, value in asdict(getattr(group, measure)).items()}
            rows.append(row)
        return rows


@on_cpu_by_default
def compare_pairs(
    model: LanguageModel, pairs: Iterable[Pair], *, batch_size: int = 2048, confidence: float = 0.95
) -> PairsResult:
    """Measures how often a model prefers the good sentence of minimal pairs.

    Each sentence is scored as `score` does by default: after the start of a document and without the paragraph end.
    Lengths count the characters of the normalised sentence. A measure decides for the sentence with the higher value;
    values that differ by less than a millionth are a tie, which counts as half.

    Args:
        model: Any `LanguageModel`. Its training mode and device are left unchanged.
        pairs: Tuples of good sentence, bad sentence and, optionally, group; or mappings with the keys ``"good"``,
            ``"bad"`` and, optionally, ``"group"``. Pairs without a group are in the group ``"all"``.
        batch_size: Number of distinct sentences read in a batch.
        confidence: Confidence of the intervals.

    Raises:
        DataError: There is no pair, or one is not two texts, has an empty one, or one with a lone surrogate.
        NonFiniteError: The model's log-probabilities are NaN.
        ConfigError: An option is out of range.
    """
    check_model("model", model)
    check_integer("batch_size", batch_size, minimum=1)
    check_number("confidence", confidence, maximum=1.0, exclusive=True)
    listed = check_list("pairs", pairs, "a list of (good, bad) or (good, bad, group)")
    checked = [_checked(f"pairs[{number}]", pair) for number, pair in enumerate(listed)]
    if not checked:
        raise DataError("there is no pair to compare; give a list of (good, bad) or (good, bad, group)")
    vocabulary = model.vocabulary
    texts = [normalize_text(text, vocabulary.normalize) for good, bad, _ in checked for text in (good, bad)]
    ids = {text: vocabulary.encode(text) for text in dict.fromkeys(texts)}
    log_probs = check_log_probs(sum_log_probs(model, [ids[text] for text in texts], batch_size=batch_size))
    unknown = _UnknownCharacters(vocabulary)
    of_pairs = [unknown.of(good, ids[good]) | unknown.of(bad, ids[bad]) for good, bad in _twos(texts)]
    members: dict[str, list[int]] = {}
    for number, (_, _, group) in enumerate(checked):
        members.setdefault(group, []).append(number)
    outcomes = {
        measure: [
            _outcome(*(value / len(text) ** exponent for value, text in sentences))
            for sentences in _twos(list(zip(log_probs, texts, strict=True)))
        ]
        for measure, exponent in _EXPONENTS.items()
    }
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    groups = tuple(
        PairGroup(
            name,
            len(numbers),
            sum(1 for number in numbers if of_pairs[number]),
            **{measure: _accuracy([found[number] for number in numbers], z) for measure, found in outcomes.items()},
        )
        for name, numbers in members.items()
    )
    counts: dict[str, int] = {}
    for characters in of_pairs:
        for character in characters:
            counts[character] = counts.get(character, 0) + 1
    by_count = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return PairsResult(groups, _macro(groups), by_count, confidence, tuple(_twos(log_probs)))


def _twos(values: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _checked(name: str, pair: Any) -> tuple[str, str, str]:
    """Returns the good sentence, the bad one and the group of a pair."""
    if isinstance(pair, Mapping) and {"good", "bad"} <= pair.keys():
        pair = [pair["good"], pair["bad"], pair.get("group", _GROUP)]
    if not isinstance(pair, (tuple, list)) or len(pair) not in (2, 3):
        raise DataError(f"{name} must be (good, bad), (good, bad, group) or such a mapping, got {shown(pair)}")
    return check_pair(name, *pair)


def check_pair(name: str, good: object, bad: object, group: object = _GROUP) -> tuple[str, str, str]:
    """Returns a pair whose sentences and group are text; raises DataError, headed by `name`, if one is empty."""
    values = (("good sentence", good), ("bad sentence", bad), ("group", group))
    for what, value in values:
        if not check_text(f"{name}: the {what}", value).strip():
            raise DataError(f"{name}: the {what} is empty; fill it in, or leave the pair out")
    return str(good), str(bad), str(group)


class _UnknownCharacters:
    """Finds the characters of texts that are outside a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._unknown = {*vocabulary.byte_ids, vocabulary.unk_id}

    def of(self, text: str, ids: Sequence[int]) -> set[str]:
        """Returns those of a text: characters that are encoded in bytes, and those of words that are ``<unk>``."""
        if self._unknown.isdisjoint(ids):
            return set()
        found: set[str] = set()
        for word, of_word in self._vocabulary.encode_words(text):
            if self._unknown.isdisjoint(of_word):
                continue
            if len(of_word) == 1:
                found.update(word)
            else:
                found.update(
                    each for each in word if not self._unknown.isdisjoint(self._vocabulary.spell_character(each))
                )
        return found


def _outcome(good: float, bad: float) -> float:
    """Returns 1 where the good sentence is preferred, 0 where the bad one is, and a half for a tie."""
    return 0.5 if math.isclose(good, bad, rel_tol=_TIE) else float(good > bad)


def _accuracy(outcomes: Sequence[float], z: float) -> PairAccuracy:
    """Returns an accuracy with Wilson's interval; `z` is the normal quantile of its confidence."""
    number, proportion = len(outcomes), sum(outcomes) / len(outcomes)
    shrunk = z * z / number
    centre = (proportion + shrunk / 2) / (1 + shrunk)
    half = z / (1 + shrunk) * math.sqrt(proportion * (1 - proportion) / number + shrunk / (4 * number))
    return PairAccuracy(proportion, max(centre - half, 0.0), min(centre + half, 1.0), outcomes.count(0.5))


def _macro(groups: Sequence[PairGroup]) -> PairGroup:
    """Returns the macro average of some groups."""
    averages = {}
    for measure in _EXPONENTS:
        parts: list[PairAccuracy] = [getattr(group, measure) for group in groups]
        mean = sum(part.accuracy for part in parts) / len(parts)
        below = math.hypot(*(part.accuracy - part.low for part in parts)) / len(parts)
        above = math.hypot(*(part.high - part.accuracy for part in parts)) / len(parts)
        ties = sum(part.ties for part in parts)
        averages[measure] = PairAccuracy(mean, max(mean - below, 0.0), min(mean + above, 1.0), ties)
    num_pairs, num_unknown = (sum(getattr(group, name) for group in groups) for name in ("num_pairs", "num_unknown"))
    return PairGroup("macro average", num_pairs, num_unknown, **averages)
