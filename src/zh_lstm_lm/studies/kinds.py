"""The kinds of study by name; a new kind is a module of its own and its class in this list."""

from collections.abc import Mapping

from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.epochs import EpochsStudy
from zh_lstm_lm.studies.seq_len import SeqLenStudy
from zh_lstm_lm.studies.vocabularies import VocabularyStudy

__all__ = ["KINDS"]

KINDS: Mapping[str, type[Study]] = {kind.kind: kind for kind in (SeqLenStudy, EpochsStudy, VocabularyStudy)}
