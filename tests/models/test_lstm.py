"""The language model against an LSTM and softmax written in NumPy, and what a user may rely on around it."""

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from zh_lstm_lm import (
    ConfigError,
    DataError,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Vocabulary,
    VocabularyError,
)
from zh_lstm_lm.corpus.batches import IGNORED

Array = npt.NDArray[np.float64]

KINDS: dict[str, dict[str, Any]] = {
    "full": {"output": "full"},
    "full, two layers": {"output": "full", "num_layers": 2},
    "tied": {"tie_weights": True, "embedding_dim": 16},
    "tied with projection": {"tie_weights": True, "num_layers": 2},
    "adaptive": {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    "adaptive, vectors of words alone": {"output": "adaptive", "cutoffs": (20, 60), "character_vectors": False},
    "adaptive, tied": {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60, 200)},
    "adaptive, tied, vectors of words alone": {
        "tie_weights": True,
        "output": "adaptive",
        "cutoffs": (20, 60),
        "character_vectors": False,
        "num_layers": 2,
    },
    "adaptive, two layers": {"output": "adaptive", "cutoffs": (20, 60, 200), "num_layers": 2, "div_value": 1.5},
}
SIZES: dict[str, Any] = {"embedding_dim": 12, "hidden_size": 16, "dropout": 0.0}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(vocabulary: Vocabulary, kind: str, **options: Any) -> LSTMLanguageModel:
    """A model with random biases too, so that none can be forgotten."""
    config = ModelConfig(**{**SIZES, "seed": 3, **KINDS[kind], **options})
    model = LSTMLanguageModel(vocabulary, config).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_(0.0, 0.5, generator=generator)
    return model


def random_ids(vocabulary: Vocabulary, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(len(vocabulary), shape, generator=torch.Generator().manual_seed(seed))


def random_state(model: LSTMLanguageModel, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    shape = (model.config.num_layers, batch, model.config.hidden_size)
    h, c = (torch.randn(shape, generator=generator) * 0.5 for _ in range(2))
    return h.to(model.config.torch_dtype), c.to(model.config.torch_dtype)


class Expected(NamedTuple):
    log_probs: Array
    h: Array
    c: Array


def log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def projected_vectors(model: LSTMLanguageModel) -> Array:
    """The vectors of all tokens where the output layer's are projected, cluster by cluster."""
    weights: dict[str, Array] = {name: w.detach().double().numpy() for name, w in model.state_dict().items()}
    assert model.config.cutoffs is not None
    tables = [weights["output.head.weight"][: model.config.cutoffs[0]]]
    tables += [weights[f"output.tails.{tail}.weight"] for tail in range(len(model.config.cutoffs))]
    ends = np.cumsum([table.shape[1] for table in tables])
    projections = np.split(weights["embedding.weight"], ends[:-1])
    return np.concatenate([table @ projection for table, projection in zip(tables, projections, strict=True)])


def numpy_vectors(model: LSTMLanguageModel, ids: Tensor) -> Array:
    """The vector of each token: its own, and the mean of those of its first four characters."""
    weights: dict[str, Array] = {name: w.detach().double().numpy() for name, w in model.embedding.state_dict().items()}
    is_shared = len(weights["weight"]) != len(model.vocabulary)
    own: Array = (projected_vectors(model) if is_shared else weights["weight"])[ids.numpy()]
    if "characters" not in weights:
        return own
    texts = list(model.vocabulary.texts())
    numbers = {character: place + 1 for place, character in enumerate(dict.fromkeys("".join(t[:4] for t in texts)))}
    vectors = []
    for vector, token_id in zip(own, ids.tolist(), strict=True):
        shared = [weights["characters"][numbers[character]] for character in texts[token_id][:4]]
        vectors.append(vector + (np.mean(shared, axis=0) if shared else 0.0))
    return np.stack(vectors)


def numpy_model(model: LSTMLanguageModel, inputs: Tensor, h: Tensor, c: Tensor) -> Expected:
    """What the model should compute, written out from the papers, in double precision."""
    weights: dict[str, Array] = {name: w.detach().double().numpy() for name, w in model.state_dict().items()}
    states = [(h[layer].double().numpy(), c[layer].double().numpy()) for layer in range(model.config.num_layers)]

    def sigmoid(x: Array) -> Array:
        result: Array = 1 / (1 + np.exp(-x))
        return result

    steps = []
    for time in range(inputs.shape[1]):
        x = numpy_vectors(model, inputs[:, time])  # (batch, embedding_dim)
        for layer, (h_before, c_before) in enumerate(states):
            gates = (
                x @ weights[f"layers.{layer}.weight_ih_l0"].T
                + weights[f"layers.{layer}.bias_ih_l0"]
                + h_before @ weights[f"layers.{layer}.weight_hh_l0"].T
                + weights[f"layers.{layer}.bias_hh_l0"]
            )
            into, forget, new, out = np.split(gates, 4, axis=1)
            c_after = sigmoid(forget) * c_before + sigmoid(into) * np.tanh(new)
            x = sigmoid(out) * np.tanh(c_after)
            states[layer] = (x, c_after)
        steps.append(x)
    hidden = np.stack(steps, axis=1)  # (batch, time, hidden_size)
    if model.config.output == "full":
        if "output.projection.weight" in weights:
            hidden = hidden @ weights["output.projection.weight"].T
        matrix = weights["embedding.weight"] if model.config.tie_weights else weights["output.weight"]
        log_probs = log_softmax(hidden @ matrix.T + weights["output.bias"])
    else:
        cutoffs = model.config.cutoffs
        assert cutoffs is not None
        head = log_softmax(hidden @ weights["output.head.weight"].T + weights["output.head.bias"])
        parts = [head[..., : cutoffs[0]]]
        for tail in range(len(cutoffs)):
            narrowed = hidden @ weights[f"output.narrow.{tail}.weight"].T
            scores = narrowed @ weights[f"output.tails.{tail}.weight"].T + weights[f"output.tails.{tail}.bias"]
            parts.append(log_softmax(scores) + head[..., [cutoffs[0] + tail]])
        log_probs = np.concatenate(parts, axis=-1)
    return Expected(log_probs, np.stack([h for h, _ in states]), np.stack([c for _, c in states]))


@every_kind
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_scores_and_state_equal_numpy(vocabulary: Vocabulary, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    model = make(vocabulary, kind).to(dtype)
    inputs = random_ids(vocabulary, 3, 6)
    for given, (h, c) in ((None, model.initial_state(3)), (random_state(model, 3), random_state(model, 3))):
        expected = numpy_model(model, inputs, h, c)
        scores, state = model(inputs, given)
        assert scores.shape == (3, 6, len(vocabulary))
        assert state[0].shape == state[1].shape == (model.config.num_layers, 3, 16)
        log_probs = scores if model.config.output == "adaptive" else torch.log_softmax(scores, dim=-1)
        np.testing.assert_allclose(log_probs.detach().numpy(), expected.log_probs, atol=tolerance)
        np.testing.assert_allclose(state[0].detach().numpy(), expected.h, atol=tolerance)
        np.testing.assert_allclose(state[1].detach().numpy(), expected.c, atol=tolerance)


@every_kind
def test_a_sequence_equals_its_tokens_one_by_one_with_the_state_passed_on(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    inputs = random_ids(vocabulary, 2, 9)
    whole, last = model(inputs)
    state, steps = None, []
    for time in range(inputs.shape[1]):
        scores, state = model(inputs[:, time : time + 1], state)
        steps.append(scores)
    assert torch.allclose(torch.cat(steps, dim=1), whole, atol=1e-5)
    assert state is not None
    assert torch.allclose(state[0], last[0], atol=1e-6)
    assert torch.allclose(state[1], last[1], atol=1e-6)


@every_kind
def test_loss_is_the_mean_over_the_counted_targets_of_minus_log_probability(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    inputs, targets = random_ids(vocabulary, 3, 7), random_ids(vocabulary, 3, 7, seed=1)
    targets[0, 2:] = IGNORED
    targets[2, 0] = IGNORED
    state = random_state(model, 3)
    scores, after = model(inputs, state)
    counted = targets != IGNORED
    chosen = torch.log_softmax(scores, dim=-1)[counted].gather(1, targets[counted][:, None])
    loss, loss_state = model.loss(inputs, targets, state)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(-chosen.mean().item(), abs=1e-5)
    assert torch.equal(loss_state[0], after[0])
    assert torch.equal(loss_state[1], after[1])
    context, _ = model.read(inputs, state)
    log_probs = model.target_log_probs(context, targets.flatten()).view_as(targets)
    assert torch.allclose(log_probs[counted], chosen[:, 0], atol=1e-5)
    assert not log_probs[~counted].any()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    expected = torch.autograd.grad(-chosen.mean(), parameters, materialize_grads=True)
    for name, gradient, wanted in zip(dict(model.named_parameters()), gradients, expected, strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-5), name


@every_kind
def test_loss_of_nothing_counted_is_zero_and_teaches_nothing(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    inputs = random_ids(vocabulary, 2, 4)
    loss, _ = model.loss(inputs, torch.full_like(inputs, IGNORED))
    assert loss.item() == 0.0
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@every_kind
def test_probabilities_sum_to_one(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    scores, _ = model(random_ids(vocabulary, 2, 5))
    if model.config.output == "full":
        scores = torch.log_softmax(scores, dim=-1)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(2, 5), atol=1e-5)


@every_kind
def test_gradients_reach_every_parameter_and_the_state(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind).train()
    everything = torch.arange(len(vocabulary))[None]
    h, c = (part.requires_grad_() for part in random_state(model, 1))
    loss, _ = model.loss(everything, everything.flip(1), (h, c))
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        rows = parameter.grad.flatten(1) if parameter.dim() > 1 else parameter.grad[:, None]
        rows = rows[1:] if name == "embedding.characters" else rows  # the first stands for no character
        assert rows.any(dim=1).all(), f"{name}: a row learns nothing"
    assert h.grad is not None
    assert h.grad.any(dim=-1).all()
    assert c.grad is not None
    assert c.grad.any(dim=-1).all()


def test_a_detached_state_ends_the_gradient(model: LSTMLanguageModel) -> None:
    inputs = torch.tensor([[0, 5, 6]])
    _, state = model(inputs)
    assert state[0].requires_grad
    h, c = state.detach()
    assert not h.requires_grad
    assert not c.requires_grad
    assert torch.equal(h, state[0])
    assert torch.equal(c, state[1])


@every_kind
def test_the_state_is_never_kept(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind).train()
    inputs = random_ids(vocabulary, 2, 5)
    state = random_state(model, 2)
    before = state[0].clone(), state[1].clone()
    first, _ = model(inputs)
    model(random_ids(vocabulary, 2, 5, seed=9), state)
    model.loss(inputs, inputs, state)
    assert torch.equal(model(inputs)[0], first)
    assert torch.equal(state[0], before[0]), "the caller's state is not written to"
    assert torch.equal(state[1], before[1])


def test_the_zero_state_is_what_none_stands_for(vocabulary: Vocabulary) -> None:
    model = make(vocabulary, "adaptive, two layers")
    inputs = random_ids(vocabulary, 4, 3)
    h, c = model.initial_state(4)
    assert h.shape == c.shape == (2, 4, 16)
    assert not h.any()
    assert not c.any()
    assert torch.equal(model(inputs, (h, c))[0], model(inputs)[0])


def test_rows_do_not_see_each_other_and_no_token_sees_the_future(model: LSTMLanguageModel) -> None:
    inputs = torch.tensor([[0, 5, 6, 7], [0, 8, 9, 10]])
    changed = torch.tensor([[0, 5, 11, 7], [0, 8, 9, 10]])
    before, after = model(inputs)[0], model(changed)[0]
    assert torch.allclose(before[1], after[1], atol=1e-6)
    assert torch.allclose(before[0, :2], after[0, :2], atol=1e-6)
    assert not torch.allclose(before[0, 2:], after[0, 2:], atol=1e-6)


@every_kind
def test_weights_come_from_the_seed_alone(vocabulary: Vocabulary, kind: str) -> None:
    models = []
    with torch.random.fork_rng(devices=[]):
        for number, seed in enumerate((1, 1, 2)):
            torch.manual_seed(number)
            models.append(LSTMLanguageModel(vocabulary, ModelConfig(**{**SIZES, **KINDS[kind], "seed": seed})))
    first, again, other = (dict(model.named_parameters()) for model in models)
    for name, parameter in first.items():
        assert torch.isfinite(parameter).all()
        assert torch.equal(parameter, again[name]), name
        drawn = name != "output.bias" and "tails" not in name and name != "output.head.bias"
        assert not drawn or not torch.equal(parameter, other[name]), name
    models[0].reset_parameters()
    assert all(torch.equal(parameter, again[name]) for name, parameter in models[0].named_parameters())


def test_a_new_model_remembers_at_first(vocabulary: Vocabulary) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=12, hidden_size=64, num_layers=2)).eval()
    h, c = torch.zeros(2, 1, 64), torch.ones(2, 1, 64)
    for name, parameter in model.named_parameters():
        if "bias" not in name:
            nn.init.zeros_(parameter)
    _, (_, kept) = model(torch.tensor([[0]]), (h, c))
    assert 0.65 < kept.mean().item() < 0.81, "a forget gate is near sigmoid(1) before anything is learnt"


@every_kind
def test_a_new_model_starts_near_the_frequencies_of_its_training_text(
    stream: TokenStream, vocabulary: Vocabulary, kind: str
) -> None:
    counts = torch.tensor(vocabulary.counts, dtype=torch.float64).clamp(min=0.5)
    unigram = counts / counts.sum()
    ids = vocabulary.encode_stream(stream).long()
    targets = ids[1:].masked_fill(ids[1:] == vocabulary.bos_id, IGNORED)
    config = ModelConfig(**{**SIZES, **KINDS[kind]})
    loss, _ = LSTMLanguageModel(vocabulary, config).eval().loss(ids[None, :-1], targets[None])
    entropy = -float(unigram[ids[ids != vocabulary.bos_id]].log().mean())
    assert loss.item() == pytest.approx(entropy, abs=0.4)
    assert loss.item() < math.log(len(vocabulary)) - 0.4, "better than knowing nothing"


@every_kind
def test_dropout_acts_in_training_only_and_is_reproducible(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind, dropout=0.5)
    inputs, targets = random_ids(vocabulary, 2, 5), random_ids(vocabulary, 2, 5, seed=1)
    plain = make(vocabulary, kind).loss(inputs, targets)[0].item()
    assert model.loss(inputs, targets)[0].item() == plain
    model.train()
    seeds = (1, 1, 2)
    first, again, other = (
        model.loss(inputs, targets, generator=torch.Generator().manual_seed(seed))[0].item() for seed in seeds
    )
    assert first == again
    assert first != other
    assert first != plain
    assert model.eval().loss(inputs, targets)[0].item() == plain


def test_the_dropout_mask_is_the_same_at_every_time_step(vocabulary: Vocabulary) -> None:
    model = make(vocabulary, "full", dropout=0.5, hidden_size=64).train()
    context, _ = model.read(random_ids(vocabulary, 8, 6), generator=torch.Generator().manual_seed(0))
    kept = context.hidden.view(8, 6, 64) != 0
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert 0.35 < float(kept.float().mean()) < 0.65
    assert not torch.equal(kept[0], kept[1])


def test_dropout_reaches_what_the_first_layer_reads_and_what_the_output_layer_reads(vocabulary: Vocabulary) -> None:
    inputs = random_ids(vocabulary, 4, 6)
    model = make(vocabulary, "full", dropout=0.5)
    _, plain = model.read(inputs)
    context, state = model.train().read(inputs, generator=torch.Generator().manual_seed(0))
    hidden = context.hidden.view(4, 6, -1)
    assert not torch.allclose(state[1], plain[1], atol=1e-3), "the embedding is dropped"
    kept = hidden[:, -1] != 0
    assert torch.allclose(hidden[:, -1][kept], 2 * state[0][0][kept]), "the last layer is dropped, the rest scaled up"
    assert not kept.all()


def test_dropout_does_not_reach_the_carried_state_of_a_layer(vocabulary: Vocabulary) -> None:
    model = make(vocabulary, "full", dropout=0.9, hidden_size=64).train()
    _, (h, c) = model.read(random_ids(vocabulary, 8, 6), generator=torch.Generator().manual_seed(0))
    assert (h != 0).all()
    assert (c != 0).all()


@pytest.mark.parametrize("shape", [(3,), (), (1, 2, 3)])
def test_inputs_of_another_shape_are_refused(model: LSTMLanguageModel, shape: tuple[int, ...]) -> None:
    inputs = torch.zeros(shape, dtype=torch.int64)
    with pytest.raises(DataError, match=r"\(batch, time\)") as caught:
        model(inputs)
    assert str(shape) in str(caught.value)
    with pytest.raises(DataError, match=r"\(batch, time\)"):
        model.loss(inputs, inputs)


def test_the_model_holds_a_vocabulary_that_cannot_change_under_it(stream: TokenStream) -> None:
    vocabulary = Vocabulary.from_stream(stream)
    model = make(vocabulary, "full")
    size = len(vocabulary)
    vocabulary.add_token("新词")
    assert len(model.vocabulary) == size
    assert "新词" not in model.vocabulary
    assert model(torch.tensor([[0]]))[0].shape == (1, 1, size)
    with pytest.raises(VocabularyError):
        model.vocabulary.add_token("新词")
    assert all(isinstance(value, Tensor) for value in model.state_dict().values())


@every_kind
def test_state_dict_and_deepcopy_carry_the_whole_model(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    inputs = random_ids(vocabulary, 2, 4)
    other = make(vocabulary, kind, seed=99)
    assert not torch.equal(other(inputs)[0], model(inputs)[0])
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs)[0], model(inputs)[0])
    twin = copy.deepcopy(model)
    assert torch.equal(twin(inputs)[0], model(inputs)[0])
    nn.init.zeros_(twin.embedding.weight)
    assert torch.equal(other(inputs)[0], model(inputs)[0])


def test_shared_weights_count_once(vocabulary: Vocabulary) -> None:
    size = len(vocabulary)
    lstm = 4 * 16 * (12 + 16 + 2)
    characters = 1 + len(set("".join(vocabulary.texts())))
    expected = (size + characters) * 12 + lstm + size * 16 + size
    assert make(vocabulary, "full").num_parameters == expected
    assert make(vocabulary, "full", character_vectors=False).num_parameters == expected - characters * 12
    tied = make(vocabulary, "tied with projection", num_layers=1)
    assert tied.num_parameters == size * 12 + lstm + 12 * 16 + size
    assert make(vocabulary, "tied").num_parameters == size * 16 + 4 * 16 * (16 + 16 + 2) + size
    alone, shared = make(vocabulary, "adaptive"), make(vocabulary, "adaptive", tie_weights=True)
    widths = 16 + 10 + 8
    assert shared.num_parameters == alone.num_parameters - size * 12 + widths * 12


def test_auto_takes_the_adaptive_softmax_for_large_vocabularies_or_given_cutoffs() -> None:
    auto = ModelConfig()
    assert auto.resolve(300).output == "full"
    assert auto.resolve(60_000).output == "adaptive"
    assert auto.resolve(60_000).cutoffs is not None
    assert ModelConfig(cutoffs=(20, 60)).resolve(300).output == "adaptive"
    assert ModelConfig(tie_weights=True).resolve(60_000).output == "adaptive"
    assert ModelConfig(tie_weights=True).resolve(300).output == "full"
    assert [ModelConfig().resolve(size).tie_weights for size in (300, 60_000)] == [False, True]
    assert [ModelConfig(tie_weights=False).resolve(size).tie_weights for size in (300, 60_000)] == [False, False]
    assert ModelConfig(output="full").resolve(60_000).output == "full"
    settled = ModelConfig(output="adaptive").resolve(300)
    assert settled.cutoffs is not None
    assert settled.cutoffs[-1] < 300
    assert settled.resolve(300) == settled


def test_the_models_config_tells_what_was_settled(vocabulary: Vocabulary) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    assert model.config.output == "full"
    assert LSTMLanguageModel(vocabulary).config.hidden_size == ModelConfig().hidden_size


def test_cutoffs_beyond_the_vocabulary_are_refused(vocabulary: Vocabulary) -> None:
    size = len(vocabulary)
    with pytest.raises(ConfigError, match=f"cutoffs.*{size}"):
        LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4, cutoffs=(20, size)))
    scores, _ = make(vocabulary, "adaptive", cutoffs=(20, size - 1))(torch.tensor([[0]]))
    assert torch.allclose(scores.exp().sum(), torch.ones(()), atol=1e-5)


def test_arguments_of_another_type_are_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="vocabulary must be a Vocabulary, got"):
        LSTMLanguageModel(["展", "昭"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="config must be a ModelConfig or None, got"):
        LSTMLanguageModel(vocabulary, {"hidden_size": 4})  # type: ignore[arg-type]


def test_the_caller_may_choose_the_device_and_the_precision(vocabulary: Vocabulary) -> None:
    with torch.device("meta"):
        model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    assert model.device.type == "meta"
    double = make(vocabulary, "adaptive").double()
    assert double(torch.tensor([[0, 1]]))[0].dtype == torch.float64


@pytest.mark.parametrize("div_value", [1.0, 2.5, 1e6, 1e200, 1e308])
def test_every_div_value_that_is_accepted_builds_a_model(vocabulary: Vocabulary, div_value: float) -> None:
    try:
        model = make(vocabulary, "adaptive", div_value=div_value)
    except ConfigError:
        assert div_value > 1e6
    else:
        scores, _ = model(torch.tensor([[0]]))
        assert torch.allclose(scores.exp().sum(), torch.ones(()), atol=1e-5)


NO_COMPILER = """
import sys
sys.modules["sympy"] = None  # an import of it is an error
import torch
from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Sampler, TokenStream, Vocabulary, evaluate
stream = TokenStream.from_texts(["风雪夜归人，千山鸟飞绝。"], tokenizer="characters")
vocabulary = Vocabulary.from_stream(stream)
for number, options in enumerate(({}, {"tie_weights": True}, {"output": "adaptive", "cutoffs": (4, 8)}, {"dtype": "float64"})):
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=12, num_layers=2, **options))
    assert all(parameter.device.type == "cpu" and parameter.isfinite().all() for parameter in model.parameters())
    model.save_pretrained(f"{sys.argv[1]}/{number}")
    model = LSTMLanguageModel.from_pretrained(f"{sys.argv[1]}/{number}")
    evaluate(model, stream)
    Sampler(model).generate(max_new_tokens=3)
"""


def test_the_first_model_of_a_process_loads_no_compiler(tmp_path: Path) -> None:
    """PyTorch imports SymPy where a weight is drawn or copied on the meta device, which takes a second."""
    done = subprocess.run(
        [sys.executable, "-c", NO_COMPILER, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
