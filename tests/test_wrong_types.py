"""Arguments of a wrong type: every public function, method and class refuses them by name, before it does any work.

The cases come from the signatures, so a new function is tested without being listed; its arguments need values in
`Given`.
"""

import dataclasses
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch

import zh_lstm_lm
from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    CoWriter,
    DataError,
    LimitOptions,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    Score,
    StudyResult,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    VocabularyError,
    ZhLstmLmError,
    compare_pairs,
    evaluate,
    score,
    score_table,
)
from zh_lstm_lm._config import Config

# By their names or those of their last parts.
EXCEPTED = {
    "History": "the constructor is that of a list",
    "TokenStream": "called by from_files, from_texts and from_records with what they have read",
    "TrainerState.*": "called by the trainer, as the methods of callbacks are",
    "GenerationState.from_tensors": "called with what was read from a saved file",
    **dict.fromkeys(
        ["restore", "from_dict", "needs_tokenizer", "warn_of_mismatch"],
        "called with what was read from a file, which is checked part by part",
    ),
    **dict.fromkeys(
        ["is_character", "spell", "spell_character", "spell_in_bytes", "with_separator"],
        "called for each word of a text",
    ),
    **dict.fromkeys(
        ["initial_state", "log_probs", "target_log_probs", "probs", "parts", "component_log_probs"],
        "called for each batch of tokens with the library's own contexts and states",
    ),
    "Mixture.read": "the same, and its models check the ids",
    "ContinuousCache.read": "the same",
    "NGramLanguageModel.read": "the same",
    "set_component_weights": "called by fit_weights with the weights that it has found",
    "LSTMLanguageModel.read-generator": "passed on to PyTorch",
    "LSTMLanguageModel.loss-generator": "the same",
    "overlap": "called with the ids of a text",
    "segmented_for": "called with the tokenizer and the normalisation of a vocabulary",
}
WRONG = [
    *(None, 3, True, 2.5, 10**400, "x", b"x", object(), [object()], {}, Path("x"), Sampler),
    *(torch.tensor(1.5), torch.tensor([1.5, 2.0])),
]


class Given:
    """Right values by the names of arguments, and the objects of methods by their classes."""

    def __init__(self, stream: TokenStream, folder: Path) -> None:
        self.stream = self.corpus = self.train = stream
        self.vocabulary = Vocabulary.from_stream(stream)
        self.model = self.a = self.b = LSTMLanguageModel(self.vocabulary, ModelConfig(embedding_dim=4, hidden_size=8))
        self.model.eval()
        self.path = self.folder = self.output = self.folders = self.log_dir = folder / "new"
        self.paths, self.records = folder / "novel.txt", folder / "records.jsonl"
        self.paths.write_text("展昭道：好。", encoding="utf-8")
        self.records.write_text('{"text": "展昭道：好。"}', encoding="utf-8")
        self.saved, self.listed, self.text_field = folder / "model", folder / "tokens.txt", "text"
        self.listed.write_text("展 0\n", encoding="utf-8")
        self.model.save_pretrained(self.saved)
        self.sampler, self.models = Sampler(self.model), [self.model]
        self.scores: list[Score] = []
        self.text = self.prompt = self.left = self.token = self.reason = self.column = "展昭"
        self.texts = self.candidates = ["展昭"]
        self.lists, self.pairs, self.rows = [["展昭"]], [("展昭", "昭展")], [{"展昭": "展昭"}]
        self.history: list[dict[str, Any]] = []
        self.ids = self.inputs = self.targets = torch.tensor([[2, 3]])
        self.counts = NGramLanguageModel.from_stream(stream, self.vocabulary, 2).counts
        self.number = self.token_id = self.batch_size = self.steps_per_epoch = 1
        self.vocab_size, self.minutes, self.device = 5000, 0.01, "cpu"
        self.kind, self.tokenizer, self.normalize, self.repo_id = "seq-len", "characters", "none", "user/model"
        self.options: dict[str, Any] = {}

    @cached_property
    def objects(self) -> list[Any]:
        study = StudyResult("seq-len", "", "tokens", {}, {}, {}, [])
        ngram = NGramLanguageModel(self.vocabulary, self.counts)
        return [
            *(self.stream, self.vocabulary, self.model, self.sampler, ngram, Mixture([self.model, ngram])),
            *(ContinuousCache(self.model), CoWriter(self.sampler, "展昭"), Trainer(self.model, self.stream)),
            *(evaluate(self.model, self.stream), score(self.model, "展昭\n昭"), zh_lstm_lm.History(), study),
            *(compare_pairs(self.model, self.pairs), *(kind() for kind in Config.__subclasses__())),
        ]


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each public function, class and method with its name; a method is that of the class."""
    for name in zh_lstm_lm.__all__:
        value = getattr(zh_lstm_lm, name)
        if not isinstance(value, type):
            yield from [(name, value)] if callable(value) else []
            continue
        if issubclass(value, Exception) or getattr(value, "_is_protocol", False) or value is LimitOptions:
            continue
        # Other data classes are results, which the library makes.
        if issubclass(value, Config) or not dataclasses.is_dataclass(value):
            yield name, value
        own = {member for base in value.__mro__ if base.__module__.startswith("zh_lstm_lm.") for member in vars(base)}
        for member in sorted(own):
            if isinstance(getattr(value, member), (types.FunctionType, types.MethodType)) and not member.startswith(
                ("_", "on_")
            ):
                yield f"{name}.{member}", getattr(value, member)


def cases() -> Iterator[tuple[str, str, Any]]:
    """The name of each callable, of an argument, and the type of the argument."""
    for name, function in callables():
        of, _, member = name.partition(".")
        if {name, f"{of}.*", member} & EXCEPTED.keys():
            continue
        plain = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
        home = vars(inspect.getmodule(function))
        hints = typing.get_type_hints(plain, localns={**vars(zh_lstm_lm), **home})
        for parameter in inspect.signature(plain).parameters.values():
            if parameter.name == "limits":
                yield from ((name, *each) for each in typing.get_type_hints(LimitOptions).items())
            elif f"{name}-{parameter.name}" in EXCEPTED:
                continue
            elif parameter.name not in ("self", "args", "kwargs") and parameter.kind is not parameter.VAR_KEYWORD:
                yield name, parameter.name, hints[parameter.name]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may be of a type; True where that cannot be told."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (None, Any) or isinstance(hint, typing.TypeVar):
        return hint is not None or value is None
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if hint in (int, float):
        return not isinstance(value, bool) and isinstance(value, (int, hint))
    kind = origin or hint
    if getattr(kind, "_is_protocol", False):
        return kind is typing.SupportsIndex and isinstance(value, int)
    if isinstance(value, torch.Tensor) and kind not in (torch.Tensor, Hashable):
        return kind is Iterable and value.dim() > 0
    return isinstance(value, kind)


@pytest.fixture(scope="module")
def given(stream: TokenStream, tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(stream, tmp_path_factory.mktemp("types"))


@pytest.mark.parametrize(("name", "argument", "hint"), [pytest.param(*case, id="-".join(case[:2])) for case in cases()])
def test_a_wrong_type_is_refused_by_name(name: str, argument: str, hint: Any, given: Given, tmp_path: Path) -> None:
    function = dict(callables())[name]
    plain = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    parameters = inspect.signature(plain).parameters
    of = getattr(zh_lstm_lm, name.partition(".")[0])
    needed = [each.name for each in parameters.values() if each.default is each.empty and each.kind < each.VAR_KEYWORD]
    given.path = tmp_path / "new"
    values = {each: getattr(given, each) for each in needed if each not in ("self", "args", argument)}
    if not isinstance(function, type) and "self" in parameters:
        values["self"] = next(each for each in given.objects if isinstance(each, of))
    if name.endswith("from_pretrained") or name == "Vocabulary.from_token_list":
        values |= {"path": given.listed if of is Vocabulary else given.saved} if argument != "path" else {}
    if name == "TokenStream.from_records" and argument not in ("records", "text_field"):
        values["text_field"] = "text"
    for wrong in WRONG:
        if not fits(wrong, hint):
            message = f"{wrong!r:.60} for {hint}"
            try:
                result = function(**values, **{argument: wrong})
                message += f" gives {list(result) if inspect.isgenerator(result) else result!r:.60}"
            except ZhLstmLmError as error:
                message = str(error)
            assert re.search(rf"\b{argument.removeprefix('token_').removesuffix('s')}s?\b", message)
    assert not given.path.exists(), "nothing is written"


@pytest.mark.parametrize(("ids", "shown"), [([[-1, 2]], "from -1 to 2"), ([[2, 1 << 20]], "from 2 to 1048576")])
def test_ids_outside_of_the_vocabulary_are_refused(ids: list[list[int]], shown: str, given: Given) -> None:
    wrong, right = torch.tensor(ids), torch.tensor([[2, 3]])
    for call in (given.model, lambda inputs: given.model.loss(inputs, right)):
        with pytest.raises(VocabularyError, match=f"inputs .* from 0 to {len(given.vocabulary) - 1}, got ids {shown}"):
            call(wrong)
    with pytest.raises(VocabularyError, match="targets must be ids from 0"):
        given.model.loss(right, wrong)


def test_tensors_of_another_kind_or_shape_are_refused(given: Given) -> None:
    model, ids = given.model, torch.tensor([[2, 3]])
    for wrong in (ids.float(), ids[0], torch.empty(0), ids.bool()):
        with pytest.raises(DataError, match=r"inputs .* of the shape \(batch, time\), got torch\."):
            model(wrong)
        with pytest.raises(
            DataError, match=r"targets must be integers of the shape of the inputs, \(1, 2\), got torch\."
        ):
            model.loss(ids, wrong)
    for state in (model.initial_state(2), (ids, ids), (None, None), model.initial_state(1)[:1]):
        with pytest.raises(DataError, match=r"state must be \(h, c\), two tensors of the shape \(1, 1, 8\)"):
            model(ids, state)
    assert model.loss(ids, torch.tensor([[-100, -100]]), model.initial_state(1))[0] == 0


def test_what_would_fill_the_memory_or_has_another_length_is_refused(given: Given) -> None:
    with pytest.raises(ConfigError, match="previous must be from 0 to 1000"):
        score_table(given.model, given.rows, "展昭", previous=10**400)
    with pytest.raises(DataError, match="names must be as many as the 1 rows, got 2"):
        score_table(given.model, given.rows, "展昭", names=["一", "二"])


def test_limits_of_a_later_turn_are_refused_at_once(given: Given) -> None:
    with pytest.raises(ConfigError, match="no option 'max_sentence'; did you mean 'max_sentences'"):
        CoWriter(given.sampler, max_sentence=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_what_can_be_no_path_is_refused(path: str, given: Given) -> None:
    history = [{"epoch": 1.0, "train_perplexity": 2.0}]
    calls: list[Callable[[], object]] = [
        lambda: given.sampler.write(path, max_new_tokens=1),
        lambda: zh_lstm_lm.plot_history(history, path),
        lambda: zh_lstm_lm.write_report([given.saved], path),
        lambda: zh_lstm_lm.write_report([path], given.path),
        lambda: zh_lstm_lm.History(history).save(path),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="without zero bytes and lone surrogates"):
            call()


def test_errors_of_a_function_of_the_user_come_out_as_they_are(given: Given) -> None:
    def stop(text: str) -> bool:
        raise AttributeError("mine")

    def texts() -> Iterator[str]:
        yield "展昭"
        raise TypeError("mine")

    with pytest.raises(AttributeError, match=r"^mine$"):
        given.sampler.generate("展", max_new_tokens=3, stop_when=stop)
    with pytest.raises(TypeError, match=r"^mine$"):
        zh_lstm_lm.score_batch(given.model, texts())


def test_objects_of_a_module_that_was_loaded_anew_are_taken(given: Given) -> None:
    """As ``%autoreload`` of a notebook makes them when a module has changed."""
    source = inspect.getsourcefile(LSTMLanguageModel)
    spec = importlib.util.spec_from_file_location(LSTMLanguageModel.__module__, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.LSTMLanguageModel(given.model.vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    assert not isinstance(model, LSTMLanguageModel)
    history = Trainer(model, given.stream, None, TrainerConfig(max_steps=2), progress=False).fit()
    assert history[-1]["step"] == 2
    assert evaluate(model, given.stream).perplexity > 1
