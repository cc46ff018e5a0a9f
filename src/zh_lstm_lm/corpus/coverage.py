"""What a vocabulary covers of a text: the figures to look at before long training starts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.token_stream import TokenStream

__all__ = ["CoverageReport", "SizeCoverage", "measure_coverage", "zipf_slope"]

_SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 100_000, 200_000)
_SHOWN_WORDS = 20


@dataclass(frozen=True)
class SizeCoverage:
    """What a vocabulary of so many words covers.

    Attributes:
        num_words: The most frequent words that are kept whole; characters and bytes come on top.
        spelled_in_characters: Share of the tokens that are spelled, all in characters.
        spelled_in_bytes: Share of the tokens that hold a character which has to be spelled in bytes (in a closed
            vocabulary: 0; all that it does not know counts as spelled in characters, and becomes ``<unk>``).
    """

    num_words: int
    spelled_in_characters: float
    spelled_in_bytes: float


@dataclass(frozen=True)
class CoverageReport:
    """A text seen through a vocabulary. Paragraph ends are left out of every figure.

    Attributes:
        num_tokens: Tokens of the text.
        num_types: Distinct tokens.
        num_hapaxes: Tokens that occur once.
        zipf_slope: Slope of log frequency over log rank; about -1 in running text (Zipf, 1949).
        sizes: Coverage by number of words; the last row is the whole vocabulary.
        spelled_words: The most frequent words that are spelled, with their counts.
    """

    num_tokens: int
    num_types: int
    num_hapaxes: int
    zipf_slope: float
    sizes: tuple[SizeCoverage, ...]
    spelled_words: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """The report as lines of text."""
        lines = [
            f"{self.num_tokens:,} tokens, {self.num_types:,} types, {self.num_hapaxes:,} of them hapaxes "
            f"({self.num_hapaxes / max(1, self.num_types):.1%}), Zipf slope {self.zipf_slope:.2f}",
            "     words  spelled in characters  in bytes",
        ]
        lines += [
            f"{size.num_words:>10,}  {size.spelled_in_characters:>20.2%}  {size.spelled_in_bytes:>8.3%}"
            for size in self.sizes
        ]
        if self.spelled_words:
            lines.append("most often spelled: " + " ".join(f"{word} {count}" for word, count in self.spelled_words))
        return "\n".join(lines)


def measure_coverage(stream: TokenStream, ids: Mapping[str, int], *, spells: bool) -> CoverageReport:
    """Measures what a vocabulary covers of a text.

    Args:
        stream: The text.
        ids: The vocabulary's tokens to ids, which fall with frequency.
        spells: Whether unknown words are spelled (else they become ``<unk>``).
    """
    counts = stream.token_counts()
    counts[stream.lexicon.index(PARAGRAPH_END)] = 0
    total = max(1, int(counts.sum()))
    words = sorted((token_id, token) for token, token_id in ids.items() if len(token) > 1 or not spells)
    ranks = {token: rank for rank, (_, token) in enumerate(words)}
    unknown = len(words)
    known_character = -1  # needs no room among the words
    rank = torch.tensor([ranks.get(token, known_character if token in ids else unknown) for token in stream.lexicon])
    in_bytes = torch.tensor([spells and not all(map(ids.__contains__, token)) for token in stream.lexicon])
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
    """Slope of the least-squares line of log frequency over log rank.

    It is taken at ranks evenly spaced in their logarithm, over the types that occur at least twice: all hapaxes share
    a frequency, whatever their rank.

    Args:
        counts: How often each type occurs. **Shape:** (types,).
    """
    falling = counts[counts > 1].sort(descending=True).values.double()
    if len(falling) < 3:
        return math.nan
    ranks = torch.tensor(sorted({round(len(falling) ** (number / 200)) for number in range(201)}))
    x, y = ranks.double().log(), falling[ranks - 1].log()
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())
