"""Word-level LSTM language models of Chinese text: train, measure, write.

    from zh_lstm_lm import LSTMLanguageModel, Sampler, TokenStream, Trainer, Vocabulary

Names are imported when they are first used, so that importing this package loads neither torch nor jieba.
"""

from zh_lstm_lm._version import __version__ as __version__

# ruff: noqa: I001 – the block of imports has one statement for each module
TYPE_CHECKING = False  # true for type checkers, whatever is said here; typing itself takes longer than all the rest
if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream as TokenStream, sample_novel as sample_novel
    from zh_lstm_lm.corpus.vocabulary import Vocabulary as Vocabulary
    from zh_lstm_lm.errors import (
        CheckpointError as CheckpointError, ConfigError as ConfigError, DataError as DataError,
        MissingDependencyError as MissingDependencyError, NonFiniteError as NonFiniteError, RankError as RankError,
        VocabularyError as VocabularyError, ZhLstmLmError as ZhLstmLmError,
    )  # fmt: skip
    from zh_lstm_lm.evaluation.bootstrap import ErrorBars as ErrorBars
    from zh_lstm_lm.evaluation.comparison import ModelComparison as ModelComparison, compare_models as compare_models
    from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation as DynamicEvaluation
    from zh_lstm_lm.evaluation.evaluate import evaluate as evaluate
    from zh_lstm_lm.evaluation.novelty import CopiedPassage as CopiedPassage, Novelty as Novelty, novelty as novelty
    from zh_lstm_lm.evaluation.pairs import PairsResult as PairsResult, compare_pairs as compare_pairs
    from zh_lstm_lm.evaluation.rescore import (
        RescoredCandidate as RescoredCandidate, rescore as rescore, rescore_batch as rescore_batch,
    )  # fmt: skip
    from zh_lstm_lm.evaluation.result import EvaluationResult as EvaluationResult
    from zh_lstm_lm.evaluation.score import score as score, score_batch as score_batch
    from zh_lstm_lm.evaluation.scored_text import Score as Score, WordScore as WordScore
    from zh_lstm_lm.evaluation.stimuli import score_table as score_table
    from zh_lstm_lm.evaluation.suggest import Suggestion as Suggestion, suggest as suggest
    from zh_lstm_lm.generation.co_writing import CoWriter as CoWriter
    from zh_lstm_lm.generation.config import SamplerConfig as SamplerConfig
    from zh_lstm_lm.generation.limits import LimitOptions as LimitOptions
    from zh_lstm_lm.generation.result import GenerationResult as GenerationResult, GenerationState as GenerationState
    from zh_lstm_lm.generation.sampler import Sampler as Sampler
    from zh_lstm_lm.integrations.page.export import export_html as export_html
    from zh_lstm_lm.models.base import LanguageModel as LanguageModel, TextState as TextState
    from zh_lstm_lm.models.config import ModelConfig as ModelConfig
    from zh_lstm_lm.models.continuous_cache import ContinuousCache as ContinuousCache
    from zh_lstm_lm.models.lstm import LSTMLanguageModel as LSTMLanguageModel
    from zh_lstm_lm.models.mixture import Ensemble as Ensemble, Mixture as Mixture
    from zh_lstm_lm.models.ngram import NGramLanguageModel as NGramLanguageModel
    from zh_lstm_lm.models.saved_mixture import from_pretrained as from_pretrained
    from zh_lstm_lm.report.document import write_report as write_report
    from zh_lstm_lm.report.heat_map import heat_map as heat_map
    from zh_lstm_lm.report.run_plots import plot_history as plot_history
    from zh_lstm_lm.studies.config import StudyConfig as StudyConfig
    from zh_lstm_lm.studies.epoch_samples import EpochSamples as EpochSamples
    from zh_lstm_lm.studies.result import StudyResult as StudyResult
    from zh_lstm_lm.studies.study import study as study
    from zh_lstm_lm.tokenizers.base import Tokenizer as Tokenizer
    from zh_lstm_lm.tokenizers.probe import TokenizerMismatchWarning as TokenizerMismatchWarning
    from zh_lstm_lm.tokenizers.registry import get_tokenizer as get_tokenizer
    from zh_lstm_lm.training.callbacks import (
        Callback as Callback, CSVCallback as CSVCallback, EarlyStopping as EarlyStopping,
        TensorBoardCallback as TensorBoardCallback,
    )  # fmt: skip
    from zh_lstm_lm.training.config import TrainerConfig as TrainerConfig
    from zh_lstm_lm.training.estimates import (
        TrainingEstimate as TrainingEstimate, estimate_training as estimate_training,
    )  # fmt: skip
    from zh_lstm_lm.training.history import History as History
    from zh_lstm_lm.training.state import TrainerState as TrainerState
    from zh_lstm_lm.training.trainer import Trainer as Trainer

_NAMES = {
    "corpus.token_stream": ("TokenStream", "sample_novel"),
    "corpus.vocabulary": ("Vocabulary",),
    "errors": (
        "CheckpointError", "ConfigError", "DataError", "MissingDependencyError", "NonFiniteError",
        "RankError", "VocabularyError", "ZhLstmLmError",
    ),
    "evaluation.bootstrap": ("ErrorBars",),
    "evaluation.comparison": ("ModelComparison", "compare_models"),
    "evaluation.dynamic_evaluation": ("DynamicEvaluation",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.novelty": ("CopiedPassage", "Novelty", "novelty"),
    "evaluation.pairs": ("PairsResult", "compare_pairs"),
    "evaluation.rescore": ("RescoredCandidate", "rescore", "rescore_batch"),
    "evaluation.result": ("EvaluationResult",),
    "evaluation.score": ("score", "score_batch"),
    "evaluation.scored_text": ("Score", "WordScore"),
    "evaluation.stimuli": ("score_table",),
    "evaluation.suggest": ("Suggestion", "suggest"),
    "generation.co_writing": ("CoWriter",),
    "generation.config": ("SamplerConfig",),
    "generation.limits": ("LimitOptions",),
    "generation.result": ("GenerationResult", "GenerationState"),
    "generation.sampler": ("Sampler",),
    "integrations.page.export": ("export_html",),
    "models.base": ("LanguageModel", "TextState"),
    "models.config": ("ModelConfig",),
    "models.continuous_cache": ("ContinuousCache",),
    "models.lstm": ("LSTMLanguageModel",),
    "models.mixture": ("Ensemble", "Mixture"),
    "models.ngram": ("NGramLanguageModel",),
    "models.saved_mixture": ("from_pretrained",),
    "report.document": ("write_report",),
    "report.heat_map": ("heat_map",),
    "report.run_plots": ("plot_history",),
    "studies.config": ("StudyConfig",),
    "studies.epoch_samples": ("EpochSamples",),
    "studies.result": ("StudyResult",),
    "studies.study": ("study",),
    "tokenizers.base": ("Tokenizer",),
    "tokenizers.probe": ("TokenizerMismatchWarning",),
    "tokenizers.registry": ("get_tokenizer",),
    "training.callbacks": ("CSVCallback", "Callback", "EarlyStopping", "TensorBoardCallback"),
    "training.config": ("TrainerConfig",),
    "training.estimates": ("TrainingEstimate", "estimate_training"),
    "training.history": ("History",),
    "training.state": ("TrainerState",),
    "training.trainer": ("Trainer",),
}  # fmt: skip
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
