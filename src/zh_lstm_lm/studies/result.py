"""What a study found: plain values for each setting and seed, a table of them, and JSON on disk."""

from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

from zh_lstm_lm.storage.atomic import write_json
from zh_lstm_lm.storage.safe_reading import read_versioned, versioned
from zh_lstm_lm.studies.tables import format_table

__all__ = ["STUDY_FILE", "Claim", "EpochsRow", "Row", "SeqLenRow", "StudyResult", "Text", "Verdict", "VocabularyRow"]

STUDY_FILE = "study.json"
_FORMAT = 1

Verdict = Literal["holds", "does not hold", "depends"]


class Text(TypedDict):
    """A sentence in two languages."""

    en: str
    zh: str


class Claim(TypedDict):
    """A claim, and what the rows say of it.

    Attributes:
        name: What it is called, whatever the language.
        claim: The claim.
        verdict: ``"depends"`` also where the spread over the seeds does not settle it.
        figure: The figures by which it was judged.
        rule: How they were judged.
    """

    name: str
    claim: Text
    verdict: Verdict
    figure: Text
    rule: Text


class Row(TypedDict, total=False):
    """What every study measures of one training run; losses are in nats a token, perplexities per token.

    Attributes:
        seed: What weights, dropout and the passage were drawn from.
        updates: Updates made.
        epochs: Passes over the training text.
        tokens_read: Tokens trained on, those of later passes counted again.
        seconds: Wall time of training, its evaluations included. It depends on the machine and its load.
        microseconds_per_token: Time to train on one token (median over the epochs). It depends on the machine too.
        memory_mb: What an update holds when the backward pass begins, in megabytes: weights, the optimizer's means, and
            what the forward pass kept for the backward one. The same on every machine.
        train_loss: Loss on the training text (its first 100,000 tokens), without dropout, at the best weights.
        train_perplexity: The same, per token.
        train_bits_per_character: The same; None where the vocabulary does not spell.
        test_loss: Loss on the test part, which was held out from training and from the choice of the weights.
        test_perplexity: The same, per token.
        test_bits_per_character: The same; None where the vocabulary does not spell.
        gap_nats: `test_loss` - `train_loss`, in nats a token.
        gap_bits_per_character: The same in bits a character; None where the vocabulary does not spell.
        gradient_norm: Mean norm of the gradient before clipping, over all updates.
        largest_gradient_norm: The largest one.
        clipped_share: Share of the updates whose gradient was scaled down.
        epoch: The epochs (one more for a last part of one) after which the lists ending in ``_by_epoch`` were
            measured.
        train_perplexity_by_epoch: Training perplexity during each epoch, with dropout.
        train_bits_per_character_by_epoch: The same in bits a character.
        valid_perplexity_by_epoch: Perplexity on the validation part after each epoch.
        valid_bits_per_character_by_epoch: The same in bits a character.
        passage: Text written by the trained model, with the seed 0.
    """

    seed: int
    updates: int
    epochs: float
    tokens_read: int
    seconds: float
    microseconds_per_token: float
    memory_mb: float
    train_loss: float
    train_perplexity: float
    train_bits_per_character: float | None
    test_loss: float
    test_perplexity: float
    test_bits_per_character: float | None
    gap_nats: float
    gap_bits_per_character: float | None
    gradient_norm: float
    largest_gradient_norm: float
    clipped_share: float
    epoch: list[float]
    train_perplexity_by_epoch: list[float | None]
    train_bits_per_character_by_epoch: list[float | None]
    valid_perplexity_by_epoch: list[float | None]
    valid_bits_per_character_by_epoch: list[float | None]
    passage: str


class SeqLenRow(Row, total=False):
    """A row of a study of window lengths.

    Attributes:
        bptt_len: The setting: tokens over which gradients flow back.
        gradient_by_distance: Norm of the gradient of the loss at one place with respect to the hidden state k places
            before, averaged over 32 places of the test part; the first item is for k = 1.
        cell_gradient_by_distance: The same with respect to the cell state.
        loss_by_position: Loss on the test part after 1, 2, 3 … tokens read since the state was zero.
        context_tokens: How many tokens may be seen before each predicted one.
        loss_by_context: Loss on the test part when only so many are seen; the same places for each.
        context_used_tokens: The fewest of `context_tokens` with which the loss is within 0.01 nats of the lowest
            (after Khandelwal et al., 2018, who take 1 % of perplexity).
    """

    bptt_len: int
    gradient_by_distance: list[float]
    cell_gradient_by_distance: list[float]
    loss_by_position: list[float]
    context_tokens: list[int]
    loss_by_context: list[float]
    context_used_tokens: int


class EpochsRow(Row, total=False):
    """A row of a study of epochs and of the amount of text.

    Attributes:
        train_share: The setting: share of the training text that was used, the head of every document.
        train_tokens: Its tokens.
        vocabulary_size: Entries of its vocabulary.
        best_epoch: The epoch after which the loss on the validation part was lowest.
        passage_by_epoch: Text written after each epoch, with the seed 0.
        novelty_by_epoch: Share of each passage's 3-grams of words that the training text does not have.
        longest_copy_by_epoch: Characters of the longest piece of each passage that stands in the training text too.
    """

    train_share: float
    train_tokens: int
    vocabulary_size: int
    best_epoch: float
    passage_by_epoch: list[str]
    novelty_by_epoch: list[float]
    longest_copy_by_epoch: list[int]


class VocabularyRow(Row, total=False):
    """A row of a study of vocabularies.

    Attributes:
        tokenizer: What cut the text.
        unknown: What becomes of a word outside: ``"characters"`` spells it, ``"unk"`` makes it ``<unk>``.
        max_size: Most entries of the vocabulary; None for no limit.
        vocabulary_size: Entries that it has.
        characters_per_token: Characters of the test part over its tokens, after spelling.
        unknown_rate: Share of the test part's tokens that are ``<unk>``; 0 in a vocabulary that spells.
        microseconds_per_character: Time to train on one character. It depends on the machine and its load.
    """

    tokenizer: str
    unknown: str
    max_size: int | None
    vocabulary_size: int
    characters_per_token: float
    unknown_rate: float
    microseconds_per_character: float


@dataclass(frozen=True)
class StudyResult:
    """A study, whole or as far as it went; ``pandas.DataFrame(result.rows)`` makes a data frame of it.

    Attributes:
        kind: ``"seq-len"``, ``"epochs"`` or ``"vocabulary"``.
        title: What is studied, in words.
        equality: What the settings have in common: ``"tokens"``, ``"updates"`` or ``"minutes"``.
        corpus: Sizes, sums and reading of the text.
        environment: Versions, device and threads.
        options: Everything that was chosen: budget, settings, sizes of the model, options of training.
        seeds: The seeds, each with every setting.
        complete: Whether all settings and seeds are there.
        rows: One for each setting and seed: a `SeqLenRow`, `EpochsRow` or `VocabularyRow`.
        claims: What is commonly claimed, judged by the rows; empty until the study is complete.
    """

    kind: str
    title: str
    equality: str
    corpus: dict[str, Any]
    environment: dict[str, Any]
    options: dict[str, Any]
    seeds: list[int]
    complete: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def table(self) -> str:
        """A line for each setting, in Markdown: mean ± standard deviation over its seeds."""
        return format_table(self.kind, self.rows)

    def __str__(self) -> str:
        """The table, then each claim with its verdict and figure."""
        claims = (f"{claim['verdict']:<14} {claim['claim']['en']} ({claim['figure']['en']})" for claim in self.claims)
        return "\n".join([f"{self.title}, equal {self.equality}", self.table(), *claims])

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes ``study.json`` into a folder, whole or not at all.

        Raises:
            CheckpointError: It cannot be written.
        """
        write_json(Path(folder) / STUDY_FILE, versioned(_FORMAT, asdict(self)))

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "StudyResult":
        """Reads what `save` wrote.

        Raises:
            CheckpointError: There is no study in the folder, or one of a newer format.
        """
        names = [known.name for known in fields(cls)]
        return cls(**read_versioned(Path(folder) / STUDY_FILE, _FORMAT, required=names))
