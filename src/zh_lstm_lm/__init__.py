"""Word-level LSTM language models of Chinese text: train, measure, write.

    from zh_lstm_lm import LSTMLanguageModel, Sampler, TokenStream, Trainer, Vocabulary

Names are imported when they are first used, so that importing this package loads neither torch nor jieba.
"""

from zh_lstm_lm._version import __version__ as __version__

TYPE_CHECKING = False  # true for type checkers, whatever is said here; typing itself takes longer than all the rest
if TYPE_CHECKING:
    from zh_lstm_lm.corpus.stream_reading import sample_novel as sample_novel
    from zh_lstm_lm.corpus.token_stream import TokenStream as TokenStream
    from zh_lstm_lm.corpus.vocabulary import Vocabulary as Vocabulary
    from zh_lstm_lm.errors import CheckpointError as CheckpointError
    from zh_lstm_lm.errors import ConfigError as ConfigError
    from zh_lstm_lm.errors import DataError as DataError
    from zh_lstm_lm.errors import MissingDependencyError as MissingDependencyError
    from zh_lstm_lm.errors import NonFiniteError as NonFiniteError
    from zh_lstm_lm.errors import RankError as RankError
    from zh_lstm_lm.errors import VocabularyError as VocabularyError
    from zh_lstm_lm.errors import ZhLstmLmError as ZhLstmLmError
    from zh_lstm_lm.evaluation.bootstrap import ErrorBars as ErrorBars
    from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation as DynamicEvaluation
    from zh_lstm_lm.evaluation.evaluate import evaluate as evaluate
    from zh_lstm_lm.evaluation.novelty import CopiedPassage as CopiedPassage
    from zh_lstm_lm.evaluation.novelty import Novelty as Novelty
    from zh_lstm_lm.evaluation.novelty import novelty as novelty
    from zh_lstm_lm.evaluation.rescore import RescoredCandidate as RescoredCandidate
    from zh_lstm_lm.evaluation.rescore import rescore as rescore
    from zh_lstm_lm.evaluation.rescore import rescore_batch as rescore_batch
    from zh_lstm_lm.evaluation.result import EvaluationResult as EvaluationResult
    from zh_lstm_lm.evaluation.score import score as score
    from zh_lstm_lm.evaluation.score import score_batch as score_batch
    from zh_lstm_lm.evaluation.scored_text import Score as Score
    from zh_lstm_lm.evaluation.scored_text import WordScore as WordScore
    from zh_lstm_lm.evaluation.suggest import Suggestion as Suggestion
    from zh_lstm_lm.evaluation.suggest import suggest as suggest
    from zh_lstm_lm.generation.co_writing import CoWriter as CoWriter
    from zh_lstm_lm.generation.config import SamplerConfig as SamplerConfig
    from zh_lstm_lm.generation.limits import LimitOptions as LimitOptions
    from zh_lstm_lm.generation.result import GenerationResult as GenerationResult
    from zh_lstm_lm.generation.result import GenerationState as GenerationState
    from zh_lstm_lm.generation.sampler import Sampler as Sampler
    from zh_lstm_lm.models.base import LanguageModel as LanguageModel
    from zh_lstm_lm.models.base import TextState as TextState
    from zh_lstm_lm.models.config import ModelConfig as ModelConfig
    from zh_lstm_lm.models.continuous_cache import ContinuousCache as ContinuousCache
    from zh_lstm_lm.models.lstm import LSTMLanguageModel as LSTMLanguageModel
    from zh_lstm_lm.models.mixture import Ensemble as Ensemble
    from zh_lstm_lm.models.mixture import Mixture as Mixture
    from zh_lstm_lm.models.ngram import NGramLanguageModel as NGramLanguageModel
    from zh_lstm_lm.models.saved_mixture import from_pretrained as from_pretrained
    from zh_lstm_lm.page.export import export_html as export_html
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
    from zh_lstm_lm.training.callbacks import Callback as Callback
    from zh_lstm_lm.training.callbacks import EarlyStopping as EarlyStopping
    from zh_lstm_lm.training.config import TrainerConfig as TrainerConfig
    from zh_lstm_lm.training.estimates import TrainingEstimate as TrainingEstimate
    from zh_lstm_lm.training.estimates import estimate_training as estimate_training
    from zh_lstm_lm.training.history import History as History
    from zh_lstm_lm.training.state import TrainerState as TrainerState
    from zh_lstm_lm.training.trainer import Trainer as Trainer

_HOMES = {
    "CopiedPassage": "evaluation.novelty",
    "Novelty": "evaluation.novelty",
    "RescoredCandidate": "evaluation.rescore",
    "Suggestion": "evaluation.suggest",
    "novelty": "evaluation.novelty",
    "rescore": "evaluation.rescore",
    "rescore_batch": "evaluation.rescore",
    "suggest": "evaluation.suggest",
    "Callback": "training.callbacks",
    "CheckpointError": "errors",
    "CoWriter": "generation.co_writing",
    "ConfigError": "errors",
    "DataError": "errors",
    "EarlyStopping": "training.callbacks",
    "Ensemble": "models.mixture",
    "EpochSamples": "studies.epoch_samples",
    "ErrorBars": "evaluation.bootstrap",
    "EvaluationResult": "evaluation.result",
    "GenerationResult": "generation.result",
    "GenerationState": "generation.result",
    "History": "training.history",
    "LSTMLanguageModel": "models.lstm",
    "MissingDependencyError": "errors",
    "LimitOptions": "generation.limits",
    "ModelConfig": "models.config",
    "NonFiniteError": "errors",
    "RankError": "errors",
    "Sampler": "generation.sampler",
    "SamplerConfig": "generation.config",
    "StudyConfig": "studies.config",
    "StudyResult": "studies.result",
    "Score": "evaluation.scored_text",
    "TextState": "models.base",
    "TokenStream": "corpus.token_stream",
    "TrainingEstimate": "training.estimates",
    "Tokenizer": "tokenizers.base",
    "TokenizerMismatchWarning": "tokenizers.probe",
    "Trainer": "training.trainer",
    "TrainerConfig": "training.config",
    "TrainerState": "training.state",
    "Vocabulary": "corpus.vocabulary",
    "VocabularyError": "errors",
    "WordScore": "evaluation.scored_text",
    "ZhLstmLmError": "errors",
    "estimate_training": "training.estimates",
    "evaluate": "evaluation.evaluate",
    "DynamicEvaluation": "evaluation.dynamic_evaluation",
    "ContinuousCache": "models.continuous_cache",
    "LanguageModel": "models.base",
    "Mixture": "models.mixture",
    "NGramLanguageModel": "models.ngram",
    "from_pretrained": "models.saved_mixture",
    "get_tokenizer": "tokenizers.registry",
    "sample_novel": "corpus.stream_reading",
    "study": "studies.study",
    "score": "evaluation.score",
    "score_batch": "evaluation.score",
    "export_html": "page.export",
    "write_report": "report.document",
    "heat_map": "report.heat_map",
    "plot_history": "report.run_plots",
}

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
