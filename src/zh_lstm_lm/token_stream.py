"""Documents as one long run of tokens, segmented once and kept in a cache.

A stream holds tokens, not ids of a vocabulary: each distinct token has a number in the stream's own lexicon, in the
order of first appearance (0 is the paragraph end), and any vocabulary re-encodes the stream through one table.
"""

import logging
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from zh_lstm_lm._config import check_choice, check_integer, check_number, check_type
from zh_lstm_lm.cache_folder import cache_part, user_cache_dir
from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.interruption import catch_interruption
from zh_lstm_lm.segmentation import DocumentSpan, cache_key, document_of, number_tokens
from zh_lstm_lm.stream_cache import StoredStream, load_stream, store_stream
from zh_lstm_lm.stream_splitting import chunks, count_characters, cut_documents, cut_tails
from zh_lstm_lm.text.cleaning import check_cleaning
from zh_lstm_lm.text.documents import Document, ReadingOptions, read_documents, survey_files
from zh_lstm_lm.text.files import Paths, TextFile, find_files
from zh_lstm_lm.text.normalization import check_normalization
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.workers import available_cores

__all__ = ["TokenStream"]

logger = logging.getLogger(__name__)

_DEFAULT_NORMALIZATION = "nfc+width"
_PARALLEL_BYTES = 4_000_000  # under this, starting processes costs more than it saves


class TokenStream:
    r"""Tokens of documents, each paragraph followed by the token ``"\n"``.

    Made by `from_files` or `from_texts`; `split` gives streams that share the same storage.

    Attributes:
        tokenizer: What cut the text.
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
        """Wraps lexicon numbers that exist already; users call `from_files` or `from_texts`.

        Args:
            tokens: Lexicon numbers. **Shape:** (number of tokens in storage,), int32.
            lexicon: The distinct tokens; ``lexicon[0]`` is the paragraph end.
            documents: Spans of `tokens`.
            tokenizer: What cut the text.
            clean: The name of the cleaning.
            normalize: The normalisation.
        """
        self._tokens = tokens
        self.lexicon = lexicon
        self.documents = tuple(documents)
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
            cache_dir: Where to keep what was segmented; None is the user's cache folder.
            workers: Processes to segment with; None chooses. The tokens do not depend on it.

        Raises:
            DataError: Nothing to read, or files that cannot be read or decoded (all of them are named).
            ConfigError: An option is out of range.
        """
        check_cleaning(clean)
        check_type("cache_dir", cache_dir, str, PathLike, type(None))
        check_integer("workers", workers, minimum=1, optional=True)
        if normalize == "auto":
            normalize = "none" if clean == "none" else _DEFAULT_NORMALIZATION
        check_normalization(normalize)
        options = ReadingOptions(encoding, clean, normalize)
        segmenter = get_tokenizer(tokenizer)
        files = find_files(paths)
        with catch_interruption():  # which ends between two chunks of text, and leaves nothing half done
            return cls._from_files(files, segmenter, options, cache_dir, workers)

    @classmethod
    def _from_files(
        cls,
        files: list[TextFile],
        segmenter: LosslessTokenizer,
        options: ReadingOptions,
        cache_dir: str | PathLike[str] | None,
        workers: int | None,
    ) -> "TokenStream":
        if segmenter.fingerprint is None:
            return cls._segment(read_documents(files, options), segmenter, options, workers or 1)
        try:
            key = cache_key(files, segmenter.fingerprint, options)
        except DataError:  # some cannot be read: they are told of together with those that cannot be decoded
            survey_files(files, encoding=options.encoding)
            raise
        if workers is None:
            large = sum(file.path.stat().st_size for file in files) > _PARALLEL_BYTES
            workers = min(available_cores(), 8) if large and segmenter.name == "jieba" else 1
        stored = None
        try:
            directory = cache_part(Path(cache_dir or user_cache_dir()), "streams") / key
            stored = load_stream(directory)
            if stored is None:
                logger.info("segmenting %d files with %s in %d processes", len(files), segmenter.fingerprint, workers)
                store_stream(directory, read_documents(files, options), segmenter, workers)
                stored = load_stream(directory)
        except CheckpointError as error:
            logger.warning("no cache is kept: %s", error)
        if stored is None:
            return cls._segment(read_documents(files, options), segmenter, options, workers)
        return cls._of(stored, segmenter, options)

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], *, tokenizer: str | Tokenizer = "jieba", normalize: str = "none"
    ) -> "TokenStream":
        """Segments texts in memory, each a document; nothing is cleaned and nothing is cached.

        Args:
            texts: The documents. A line is a paragraph; the end of the text ends its last one.
            tokenizer: A registered name, or any object with the methods of `Tokenizer`.
            normalize: The normalisation, as in `from_files`.

        Raises:
            DataError: There is no text, or something that is not a string or holds a lone surrogate.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise DataError(f"texts must be a list of strings, each a document, got {texts!r:.40}; give [text]")
        check_normalization(normalize)
        documents = [document_of(text, number, normalize) for number, text in enumerate(texts)]
        options = ReadingOptions(clean="none", normalize=normalize)
        return cls._segment(documents, get_tokenizer(tokenizer), options, 1)

    @classmethod
    def _segment(
        cls, documents: Iterable[Document], tokenizer: LosslessTokenizer, options: ReadingOptions, workers: int
    ) -> "TokenStream":
        """Segments into memory."""
        numbers = array("i")
        lexicon, spans = number_tokens(documents, tokenizer, workers=workers, write=numbers.extend)
        return cls._of((torch.frombuffer(numbers, dtype=torch.int32), lexicon, spans), tokenizer, options)

    @classmethod
    def _of(cls, stored: StoredStream, tokenizer: LosslessTokenizer, options: ReadingOptions) -> "TokenStream":
        return cls(*stored, tokenizer=tokenizer, clean=options.clean, normalize=options.normalize)

    def split(
        self, *, valid: float = 0.05, test: float = 0.05, by: str = "tail"
    ) -> "tuple[TokenStream, TokenStream, TokenStream]":
        """Splits into training, validation and test parts.

        Args:
            valid: Share of the characters for validation, 0 for none.
            test: Share of the characters for the test, 0 for none.
            by: ``"tail"`` takes the last characters of every document, cut at paragraph ends: the test part last, the
                validation part before it. ``"document"`` takes the last documents whole, at least one a part.

        Raises:
            ConfigError: The shares are not in [0, 1), or leave nothing for training.
            DataError: A part that was asked for would be empty.
        """
        check_number("valid", valid, maximum=1.0)
        check_number("test", test, maximum=1.0)
        check_number("valid + test", valid + test, maximum=0.999999)
        check_choice("by", by, ("tail", "document"))
        cut = cut_tails if by == "tail" else cut_documents
        spans = cut(self._tokens, self._lengths, self.documents, valid=valid, test=test)
        parts = tuple(map(self._part, spans))
        for name, part, share in zip(("train", "valid", "test"), parts, (1.0, valid, test), strict=True):
            if share and not len(part):
                raise DataError(
                    f"the split leaves nothing for {name}: {self.num_documents} documents with {self.num_characters:,} "
                    f"characters at valid={valid:g}, test={test:g}, by={by!r}; give more text or other shares"
                )
        return parts[0], parts[1], parts[2]

    def _part(self, spans: Iterable[DocumentSpan]) -> "TokenStream":
        kept = [span for span in spans if span.stop > span.start]
        return TokenStream(
            self._tokens,
            self.lexicon,
            kept,
            tokenizer=self.tokenizer,
            clean=self.clean,
            normalize=self.normalize,
        )

    def token_counts(self) -> Tensor:
        """How often each token of the lexicon occurs. **Shape:** (lexicon size,), int64."""
        counts = torch.zeros(len(self.lexicon), dtype=torch.int64)
        for numbers in self.numbers():
            counts += torch.bincount(numbers, minlength=len(self.lexicon))
        return counts

    def numbers(self, *, chunk_size: int | None = None) -> Iterator[Tensor]:
        """Yields the lexicon numbers in order, never across documents. **Shape:** (at most `chunk_size`,), int32."""
        return chunks(self._tokens, self.documents, chunk_size=chunk_size)

    @cached_property
    def _lengths(self) -> Tensor:
        """Characters of each token of the lexicon. **Shape:** (lexicon size,), int64."""
        return torch.tensor([len(token) for token in self.lexicon])

    @property
    def num_tokens(self) -> int:
        """Number of tokens, paragraph ends included."""
        return sum(span.stop - span.start for span in self.documents)

    @cached_property
    def num_characters(self) -> int:
        """Number of characters, one more for every paragraph end."""
        return count_characters(self._tokens, self._lengths, self.documents)

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
            yield "".join(map(self.lexicon.__getitem__, self._tokens[span.start : span.stop].tolist()))

    def __repr__(self) -> str:
        return (
            f"TokenStream({self.num_documents} documents, {self.num_tokens:,} tokens, "
            f"{self.num_characters:,} characters, tokenizer={self.tokenizer.name or self.tokenizer.inner!r})"
        )
