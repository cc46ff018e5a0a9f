"""Coverage of a text by a vocabulary: the metrics to look at before long training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.runtime.control_characters import control_pictures
from zh_lstm_lm.tokenizers.base import add_separator

__all__ = ["CoverageReport", "SizeCoverage", "measure_coverage", "zipf_slope"]

_SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 100_000, 200_000)
_SHOWN_WORDS = 20


@dataclass(frozen=True)
class SizeCoverage:
    """Coverage by a vocabulary of a given size.

    Attributes:
        num_words: Number of the most frequent words that have an id; characters and bytes are not counted.
        spelled_in_characters: Proportion of the tokens that fall back to characters only; in a closed vocabulary, of
            those that become ``<unk>``.
        spelled_in_bytes: Proportion of the tokens with a character that falls back to bytes; 0 in a closed vocabulary.
    """

    num_words: int
    spelled_in_characters: float
    spelled_in_bytes: float


@dataclass(frozen=True)
class CoverageReport:
    """Coverage of a text by a vocabulary. Paragraph ends are not counted.

    Attributes:
        num_tokens: Number of tokens of the text.
        num_types: Number of distinct tokens.
        num_hapaxes: Number of tokens that occur once.
        zipf_slope: Slope of log frequency over log rank; about -1 in running text (Zipf, 1949).
        sizes: Coverage by number of words; the last row is the whole vocabulary.
        spelled_words: The most frequent words without an id, with their counts.
    """

    num_tokens: int
    num_types: int
    num_hapaxes: int
    zipf_slope: float
    sizes: tuple[SizeCoverage, ...]
    spelled_words: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """Returns the report as lines of text."""
        lines = [self._counts, "     words  spelled in characters  in bytes"]
        lines += [
            f"{size.num_words:>10,}  {size.spelled_in_characters:>20.2%}  {size.spelled_in_bytes:>8.3%}"
            for size in self.sizes
        ]
        return "\n".join([*lines, *self._most_spelled])

    def _repr_html_(self) -> str:
        """Returns the report as a table, which a notebook shows."""
        rows = "".join(
            f"<tr><td>{size.num_words:,}</td><td>{size.spelled_in_characters:.2%}</td>"
            f"<td>{size.spelled_in_bytes:.3%}</td></tr>"
            for size in self.sizes
        )
        head = "<tr><th>words</th><th>spelled in characters</th><th>in bytes</th></tr>"
        most = "".join(f"<p>{escape(control_pictures(line))}</p>" for line in self._most_spelled)
        return f"<p>{self._counts}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>{most}"

    @property
    def _counts(self) -> str:
        return (
            f"{self.num_tokens:,} tokens, {self.num_types:,} types, {self.num_hapaxes:,} of them hapaxes "
            f"({self.num_hapaxes / max(1, self.num_types):.1%}), Zipf slope {self.zipf_slope:.2f}"
        )

    @property
    def _most_spelled(self) -> list[str]:
        words = " ".join(f"{word} {count}" for word, count in self.spelled_words)
        return [f"most often spelled: {words}"] if words else []


def measure_coverage(stream: TokenStream, ids: Mapping[str, int], *, spells: bool) -> CoverageReport:
    """Measures the coverage by a vocabulary whose greater ids are rarer; with `spells` it has character fallback."""
    counts = stream.token_counts()
    counts[stream.lexicon.index(PARAGRAPH_END)] = 0
    total = max(1, int(counts.sum()))
    words = sorted((token_id, token) for token, token_id in ids.items() if len(token) > 1 or not spells)
    ranks = {token: rank for rank, (_, token) in enumerate(words)}
    unknown = len(words)
    tokens = [add_separator(token, stream.tokenizer.separator) for token in stream.lexicon]
    # Characters are no words, so they are covered at every size.
    known_character = -1
    rank = torch.tensor([ranks.get(token, known_character if token in ids else unknown) for token in tokens])
    in_bytes = torch.tensor([spells and not all(map(ids.__contains__, token)) for token in tokens])
    in_bytes &= rank == unknown

    def covered(size: int) -> SizeCoverage:
        in_characters = int(counts[(rank >= size) & ~in_bytes].sum())
        return SizeCoverage(size, in_characters / total, int(counts[in_bytes].sum()) / total)

    most = torch.where(rank == unknown, counts, 0).sort(descending=True, stable=True)
    shown = zip(most.indices[:_SHOWN_WORDS].tolist(), most.values[:_SHOWN_WORDS].tolist(), strict=True)
    return CoverageReport(
        num_tokens=int(counts.sum()),
        num_types=int((counts > 0).sum()),
        num_hapaxes=int((counts == 1).sum()),
        zipf_slope=zipf_slope(counts),
        sizes=tuple(map(covered, [*(size for size in _SIZES if size < unknown), unknown])),
        spelled_words=tuple((stream.lexicon[number], count) for number, count in shown if count),
    )


def zipf_slope(counts: Tensor) -> float:
    """Computes the slope of the least-squares line of log frequency over log rank. **Shape:** (types,).

    The ranks are evenly spaced in their logarithm. Types that occur once are not used, since all of them have the same
    frequency at any rank.
    """
    falling = counts[counts > 1].sort(descending=True).values.double()
    if len(falling) < 3:
        return math.nan
    ranks = torch.tensor(sorted({round(len(falling) ** (number / 200)) for number in range(201)}))
    x, y = ranks.double().log(), falling[ranks - 1].log()
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())
