"""Word-level LSTM language models of Chinese text: train, measure, write.

    from zh_lstm_lm import LSTMLanguageModel, Sampler, TokenStream, Trainer, Vocabulary

Names are imported when they are first used, so that importing this package loads neither torch nor jieba.
"""

from zh_lstm_lm._version import __version__ as __version__

TYPE_CHECKING = False  # true for type checkers, whatever is said here; typing itself takes longer than all the rest
if TYPE_CHECKING:
    from zh_lstm_lm.bootstrap import ErrorBars as ErrorBars
    from zh_lstm_lm.callbacks import Callback as Callback
    from zh_lstm_lm.callbacks import EarlyStopping as EarlyStopping
    from zh_lstm_lm.co_writing import CoWriter as CoWriter
    from zh_lstm_lm.dynamic_evaluation import evaluate_dynamically as evaluate_dynamically
    from zh_lstm_lm.ensemble import Ensemble as Ensemble
    from zh_lstm_lm.epoch_samples import EpochSamples as EpochSamples
    from zh_lstm_lm.errors import CheckpointError as CheckpointError
    from zh_lstm_lm.errors import ConfigError as ConfigError
    from zh_lstm_lm.errors import DataError as DataError
    from zh_lstm_lm.errors import MissingDependencyError as MissingDependencyError
    from zh_lstm_lm.errors import NonFiniteError as NonFiniteError
    from zh_lstm_lm.errors import RankError as RankError
    from zh_lstm_lm.errors import VocabularyError as VocabularyError
    from zh_lstm_lm.errors import ZhLstmLmError as ZhLstmLmError
    from zh_lstm_lm.estimates import TrainingEstimate as TrainingEstimate
    from zh_lstm_lm.estimates import estimate_training as estimate_training
    from zh_lstm_lm.evaluation import evaluate as evaluate
    from zh_lstm_lm.evaluation_result import EvaluationResult as EvaluationResult
    from zh_lstm_lm.generation import GenerationResult as GenerationResult
    from zh_lstm_lm.generation import GenerationState as GenerationState
    from zh_lstm_lm.memorization import CopiedPassage as CopiedPassage
    from zh_lstm_lm.memorization import Novelty as Novelty
    from zh_lstm_lm.memorization import novelty as novelty
    from zh_lstm_lm.model import LSTMLanguageModel as LSTMLanguageModel
    from zh_lstm_lm.model_sizes import ModelConfig as ModelConfig
    from zh_lstm_lm.neural_cache import evaluate_with_cache as evaluate_with_cache
    from zh_lstm_lm.report.document import write_report as write_report
    from zh_lstm_lm.rescoring import RescoredCandidate as RescoredCandidate
    from zh_lstm_lm.rescoring import rescore as rescore
    from zh_lstm_lm.rescoring import rescore_batch as rescore_batch
    from zh_lstm_lm.sample import sample_novel as sample_novel
    from zh_lstm_lm.sampler import Sampler as Sampler
    from zh_lstm_lm.sampler_config import SamplerConfig as SamplerConfig
    from zh_lstm_lm.scores import Score as Score
    from zh_lstm_lm.scores import TextState as TextState
    from zh_lstm_lm.scores import WordScore as WordScore
    from zh_lstm_lm.scoring import score as score
    from zh_lstm_lm.scoring import score_batch as score_batch
    from zh_lstm_lm.stopping import LimitOptions as LimitOptions
    from zh_lstm_lm.studies.config import StudyConfig as StudyConfig
    from zh_lstm_lm.studies.result import StudyResult as StudyResult
    from zh_lstm_lm.studies.study import study as study
    from zh_lstm_lm.suggestion import Suggestion as Suggestion
    from zh_lstm_lm.suggestion import suggest as suggest
    from zh_lstm_lm.token_stream import TokenStream as TokenStream
    from zh_lstm_lm.tokenizers.base import Tokenizer as Tokenizer
    from zh_lstm_lm.tokenizers.probe import TokenizerMismatchWarning as TokenizerMismatchWarning
    from zh_lstm_lm.tokenizers.registry import get_tokenizer as get_tokenizer
    from zh_lstm_lm.trainer import Trainer as Trainer
    from zh_lstm_lm.trainer_config import TrainerConfig as TrainerConfig
    from zh_lstm_lm.training_state import History as History
    from zh_lstm_lm.training_state import TrainerState as TrainerState
    from zh_lstm_lm.vocabulary import Vocabulary as Vocabulary

_HOMES = {
    "CopiedPassage": "memorization",
    "Novelty": "memorization",
    "RescoredCandidate": "rescoring",
    "Suggestion": "suggestion",
    "novelty": "memorization",
    "rescore": "rescoring",
    "rescore_batch": "rescoring",
    "suggest": "suggestion",
    "Callback": "callbacks",
    "CheckpointError": "errors",
    "CoWriter": "co_writing",
    "ConfigError": "errors",
    "DataError": "errors",
    "EarlyStopping": "callbacks",
    "Ensemble": "ensemble",
    "EpochSamples": "epoch_samples",
    "ErrorBars": "bootstrap",
    "EvaluationResult": "evaluation_result",
    "GenerationResult": "generation",
    "GenerationState": "generation",
    "History": "training_state",
    "LSTMLanguageModel": "model",
    "MissingDependencyError": "errors",
    "LimitOptions": "stopping",
    "ModelConfig": "model_sizes",
    "NonFiniteError": "errors",
    "RankError": "errors",
    "Sampler": "sampler",
    "SamplerConfig": "sampler_config",
    "StudyConfig": "studies.config",
    "StudyResult": "studies.result",
    "Score": "scores",
    "TextState": "scores",
    "TokenStream": "token_stream",
    "TrainingEstimate": "estimates",
    "Tokenizer": "tokenizers.base",
    "TokenizerMismatchWarning": "tokenizers.probe",
    "Trainer": "trainer",
    "TrainerConfig": "trainer_config",
    "TrainerState": "training_state",
    "Vocabulary": "vocabulary",
    "VocabularyError": "errors",
    "WordScore": "scores",
    "ZhLstmLmError": "errors",
    "estimate_training": "estimates",
    "evaluate": "evaluation",
    "evaluate_dynamically": "dynamic_evaluation",
    "evaluate_with_cache": "neural_cache",
    "get_tokenizer": "tokenizers.registry",
    "sample_novel": "sample",
    "study": "studies.study",
    "score": "scoring",
    "score_batch": "scoring",
    "write_report": "report.document",
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
