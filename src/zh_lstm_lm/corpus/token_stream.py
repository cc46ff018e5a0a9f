"""Documents as one long run of tokens, segmented once and kept in a cache.

A stream holds tokens, not ids of a vocabulary: each distinct token has a number in the stream's own lexicon, in the
order of first appearance (0 is the paragraph end), and any vocabulary re-encodes the stream through one table.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from importlib import resources
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from zh_lstm_lm._config import check_choice, check_integer, check_number, check_type
from zh_lstm_lm.corpus.cut_positions import chunks
from zh_lstm_lm.corpus.segmentation import DocumentSpan
from zh_lstm_lm.corpus.stream_cache import StoredStream
from zh_lstm_lm.corpus.stream_splitting import check_split, cut_documents, cut_tails
from zh_lstm_lm.corpus.tokenizer_checks import check_segmentation, with_normalized_dictionary
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.files import Paths
from zh_lstm_lm.text.normalization import check_normalization
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer, add_separator
from zh_lstm_lm.tokenizers.registry import get_tokenizer

if TYPE_CHECKING:
    from zh_lstm_lm.text.documents import ReadingOptions

__all__ = ["TokenStream", "sample_novel"]


class TokenStream:
    r"""Tokens of documents, each paragraph followed by the token ``"\n"``.

    Made by `from_files`, `from_records` or `from_texts`; `split` gives streams that share the same storage.

    Attributes:
        tokenizer: The tokenizer that cut the text.
        clean: The name of the cleaning that the text went through.
        normalize: The normalisation that it went through.
        lexicon: All distinct tokens, in order of first appearance; the paragraph end comes first.
        documents: The documents (or their parts) in reading order.
    """

    def __init__(
        self,
        tokens: Tensor,
        lexicon: list[str],
        documents: Iterable[DocumentSpan],
        *,
        tokenizer: LosslessTokenizer,
        clean: str,
        normalize: str,
    ) -> None:
        """Wraps lexicon numbers; users call `from_files`, `from_records` or `from_texts`.

        Args:
            tokens: Lexicon numbers. **Shape:** (number of tokens in storage,), int32.
            lexicon: The distinct tokens; ``lexicon[0]`` is the paragraph end.
            documents: Spans of `tokens`.
            tokenizer: The tokenizer that cut the text.
            clean: The name of the cleaning.
            normalize: The normalisation.
        """
        self._tokens = tokens
        self.lexicon = lexicon
        self.documents: tuple[DocumentSpan, ...] = tuple(documents)
        self.tokenizer = tokenizer
        self.clean = clean
        self.normalize = normalize

    @classmethod
    def from_files(
        cls,
        paths: Paths,
        *,
        tokenizer: str | Tokenizer = "jieba",
        encoding: str = "auto",
        clean: str = "novel",
        normalize: str = "auto",
        document_ends: bool = False,
        cache_dir: str | PathLike[str] | None = None,
        workers: int | None = None,
    ) -> "TokenStream":
        """Reads and segments text files, or takes them from the cache if they were segmented before.

        Args:
            paths: A folder (its ``*.txt`` files, at any depth), a file, a glob pattern, or a list of these.
            tokenizer: A registered name, or any object with the methods of `Tokenizer`. An object without a
                ``fingerprint`` is not cached.
            encoding: ``"auto"``, or the encoding of all files.
            clean: ``"novel"`` takes out control characters, indents, adverts and empty lines, and joins hard-wrapped
                lines; ``"none"`` leaves the text as it is; steps by name, as in ``"indents+empty_lines"``, do only
                these (`zh_lstm_lm.text.cleaning.CLEANING_STEPS`).
            normalize: Steps joined by ``+``: ``nfc``, ``width`` (full-width letters and digits to ASCII), ``nfkc``,
                ``simplified`` (traditional characters to simplified ones); ``"none"`` for no step; ``"auto"`` takes
                ``"nfc+width"`` where text is cleaned. A model remembers it for prompts and scored texts.
            document_ends: Whether an empty paragraph ends each document, from which a model learns where documents end
                (`LimitOptions.stop`). It counts as a token and a character. Give it where documents are many.
            cache_dir: The folder of segmented text; None is the user's cache folder.
            workers: Number of processes to segment with; None chooses. The tokens do not depend on it.

        Raises:
            DataError: Nothing to read, or files that cannot be read or decoded (all of them are named).
            ConfigError: An option is out of range.
        """
        # Loaded only now, here and below: a model needs streams, and not what reads and cleans files.
        from zh_lstm_lm.corpus.stream_reading import reading_options  # noqa: PLC0415

        options = reading_options(encoding, clean, normalize, None, document_ends)
        return cls._read(paths, tokenizer, options, cache_dir, workers)

    @classmethod
    def from_records(
        cls,
        records: "Paths | Iterable[Mapping[str, Any]]",
        *,
        text_field: str | None = None,
        tokenizer: str | Tokenizer = "jieba",
        encoding: str = "auto",
        clean: str = "novel",
        normalize: str = "auto",
        document_ends: bool = False,
        cache_dir: str | PathLike[str] | None = None,
        workers: int | None = None,
    ) -> "TokenStream":
        """Reads one field of each record; each record is a document.

        Records are read and segmented one after another; neither the records nor the tokens have to fit into memory.
        The records of an iterable are read once and are not cached.

        Args:
            records: Files of records: a folder (its ``.json``, ``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv`` and
                ``.parquet`` files), a file, a glob pattern, or a list of these. Or an iterable of mappings, such as a
                generator or a dataset; without `text_field` it is an iterable of texts. Parquet needs the extra
                ``parquet``.
            text_field: The name of the field: a string, or a list of strings, which become paragraphs. A dot reaches
                into an object, as in ``"data.text"``. Of a file of running text, ``"line"`` takes each line as a record.
            tokenizer: As in `from_files`, like all that follow.
            encoding: The encoding of files.
            clean: The cleaning of each record.
            normalize: The normalisation.
            document_ends: Whether models learn where records end.
            cache_dir: The cache folder of files.
            workers: Number of processes; None is 1 for an iterable.

        Raises:
            DataError: Nothing to read, files that cannot be read or decoded, or a record without the field.
            ConfigError: An option is out of range.
        """
        from zh_lstm_lm.corpus.stream_reading import look_at_records, read_iterable, reading_options  # noqa: PLC0415

        check_type("text_field", text_field, str, type(None))
        options = reading_options(encoding, clean, normalize, text_field, document_ends)
        is_path, seen = look_at_records(records, text_field)
        if is_path:
            return cls._read(seen, tokenizer, options, cache_dir, workers)
        segmenter = with_normalized_dictionary(get_tokenizer(tokenizer), options.normalize)
        stored = read_iterable(seen, segmenter, options, workers=workers)
        return cls._of(stored, segmenter, clean=options.clean, normalize=options.normalize)

    @classmethod
    def _read(
        cls,
        paths: Paths,
        tokenizer: str | Tokenizer,
        options: "ReadingOptions",
        cache_dir: str | PathLike[str] | None,
        workers: int | None,
    ) -> "TokenStream":
        from zh_lstm_lm.corpus.stream_reading import read_files  # noqa: PLC0415

        segmenter = with_normalized_dictionary(get_tokenizer(tokenizer), options.normalize)
        stored = read_files(paths, segmenter, options, cache_dir=cache_dir, workers=workers)
        return cls._of(stored, segmenter, clean=options.clean, normalize=options.normalize)

    @classmethod
    def _of(cls, stored: StoredStream, tokenizer: LosslessTokenizer, *, clean: str, normalize: str) -> "TokenStream":
        tokens, lexicon, _ = stored
        check_segmentation(tokens, lexicon, tokenizer)
        return cls(*stored, tokenizer=tokenizer, clean=clean, normalize=normalize)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        tokenizer: str | Tokenizer = "jieba",
        normalize: str = "none",
        document_ends: bool = False,
    ) -> "TokenStream":
        """Segments texts in memory, each a document; nothing is cleaned and nothing is cached.

        Args:
            texts: The documents. A line is a paragraph; the end of the text ends its last one.
            tokenizer: A registered name, or any object with the methods of `Tokenizer`.
            normalize: The normalisation, as in `from_files`.
            document_ends: Whether an empty paragraph ends each document, as in `from_files`.

        Raises:
            DataError: There is no text, or something that is not a string or holds a lone surrogate.
        """
        from zh_lstm_lm.corpus.stream_reading import read_texts  # noqa: PLC0415

        check_normalization(normalize)
        segmenter = with_normalized_dictionary(get_tokenizer(tokenizer), normalize)
        check_type("document_ends", document_ends, bool)
        stored = read_texts(texts, segmenter, normalize, document_ends=document_ends)
        return cls._of(stored, segmenter, clean="none", normalize=normalize)

    @on_cpu_by_default
    def split(
        self, *, valid: float = 0.05, test: float = 0.05, by: Literal["tail", "document"] = "tail"
    ) -> "tuple[TokenStream, TokenStream, TokenStream]":
        """Splits into training, validation and test parts.

        Proportions that cannot be met, and held-out parts in another script than the training part, are warned of.

        Args:
            valid: Proportion of the characters for validation, 0 for none.
            test: Proportion of the characters for the test, 0 for none.
            by: ``"tail"`` takes the last characters of every document, cut at paragraph ends, or at sentence ends inside
                long paragraphs: the test part last, the validation part before it. Documents too small for that go
                whole into one part. ``"document"`` takes the last documents whole, at least one for each part.

        Raises:
            ConfigError: The proportions are not in [0, 1), or leave nothing for training.
            DataError: A part that was asked for would be empty.
        """
        check_number("valid", valid, maximum=1.0)
        check_number("test", test, maximum=1.0)
        check_number("valid + test", valid + test, maximum=0.999999)
        check_choice("by", by, ("tail", "document"))
        if by == "tail":
            spans = cut_tails(self._tokens, self.lexicon, self._lengths, self.documents, valid=valid, test=test)
        else:
            sizes = [self._part([document]).num_characters for document in self.documents]
            spans = cut_documents(sizes, self.documents, valid=valid, test=test)
        parts = self._part(spans[0]), self._part(spans[1]), self._part(spans[2])
        check_split(self, parts, (valid, test), by)
        return parts

    def _part(self, spans: Iterable[DocumentSpan]) -> "TokenStream":
        kept = [span for span in spans if span.stop > span.start]
        return TokenStream(
            self._tokens, self.lexicon, kept, tokenizer=self.tokenizer, clean=self.clean, normalize=self.normalize
        )

    @on_cpu_by_default
    def token_counts(self) -> Tensor:
        """Counts the occurrences of each token of the lexicon. **Shape:** (lexicon size,), int64."""
        counts = torch.zeros(len(self.lexicon), dtype=torch.int64)
        for numbers in self.numbers():
            counts += torch.bincount(numbers, minlength=len(self.lexicon))
        return counts

    @on_cpu_by_default
    def numbers(self, *, chunk_size: int | None = None) -> Iterator[Tensor]:
        """Yields the lexicon numbers in order, never across documents. **Shape:** (at most `chunk_size`,), int32."""
        check_integer("chunk_size", chunk_size, minimum=1, optional=True)
        for span in self.documents:
            yield from chunks(self._tokens, span, chunk_size=chunk_size)

    @cached_property
    @on_cpu_by_default
    def _lengths(self) -> Tensor:
        """Characters of each token of the lexicon. **Shape:** (lexicon size,), int64."""
        separator = self.tokenizer.separator
        lengths = torch.tensor([len(add_separator(token, separator)) for token in self.lexicon])
        # Each word counts the separator before it, so the paragraph end stands for that of the first word.
        lengths[0] = 0 if separator else 1
        return lengths

    @property
    def num_tokens(self) -> int:
        """Number of tokens, paragraph ends included."""
        return sum(span.stop - span.start for span in self.documents)

    @cached_property
    @on_cpu_by_default
    def num_characters(self) -> int:
        """Number of characters, one more for every paragraph end."""
        return sum(int(self._lengths[numbers.long()].sum()) for numbers in self.numbers())

    @property
    def num_documents(self) -> int:
        """Number of documents of which this stream has a part."""
        return len(self.documents)

    def __len__(self) -> int:
        return self.num_tokens

    def __iter__(self) -> Iterator[str]:
        """Yields the tokens as strings."""
        for numbers in self.numbers(chunk_size=1 << 16):
            yield from map(self.lexicon.__getitem__, numbers.tolist())

    def texts(self) -> Iterator[str]:
        """Yields the text of each document, every paragraph with its newline."""
        for span in self.documents:
            yield self.tokenizer.join(map(self.lexicon.__getitem__, self._tokens[span.start : span.stop].tolist()))

    def segmented_for(self, tokenizer: LosslessTokenizer, normalize: str) -> "TokenStream":
        """Returns the same text in another tokenizer's tokens and normalised once more; itself if both are its own.

        A document that ends inside a paragraph, such as one that `split` cut there, gets no paragraph end.

        Args:
            tokenizer: The tokenizer.
            normalize: The normalisation.
        """
        alike = tokenizer is self.tokenizer or tokenizer.fingerprint == self.tokenizer.fingerprint is not None
        if alike and normalize == self.normalize:
            return self
        texts = list(self.texts())
        made = TokenStream.from_texts(texts, tokenizer=tokenizer, normalize=normalize)
        made.clean = self.clean
        return made._part(
            replace(span, stop=span.stop - (not text.endswith("\n")))
            for span, text in zip(made.documents, texts, strict=True)
        )

    def __repr__(self) -> str:
        return (
            f"TokenStream({self.num_documents} documents, {self.num_tokens:,} tokens, "
            f"{self.num_characters:,} characters, tokenizer={self.tokenizer.name or self.tokenizer.inner!r})"
        )


def sample_novel() -> str:
    r"""Returns the text of the bundled novella, 《空匣镖》: a title and sixteen chapters, one paragraph per line.

    It was written for this project and is in the public domain (CC0); its licence is in the same folder.

    Example:
        >>> import zh_lstm_lm
        >>> stream = zh_lstm_lm.TokenStream.from_texts([zh_lstm_lm.sample_novel()], tokenizer="characters")
        >>> stream.num_documents
        1
    """
    return resources.files("zh_lstm_lm").joinpath("data", "sample_novel.txt").read_text(encoding="utf-8")
