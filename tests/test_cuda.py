"""What is promised of a CUDA device, where there is one: nothing waits for it, and what it computes is what the CPU does."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    score,
)
from zh_lstm_lm.models.gradients import sparse_embedding
from zh_lstm_lm.runtime.devices import matrix_precision
from zh_lstm_lm.training.distributed import Ranks
from zh_lstm_lm.training.state import TrainerState
from zh_lstm_lm.training.updater import Updater

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch lets cuDNN round to 10 bits by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


LAYERS: list[dict[str, Any]] = [
    {"output": "full"},
    {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    {"tie_weights": True, "num_layers": 2},
    {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
]
SETTINGS = [
    SamplerConfig(temperature=1.0, top_p=1.0),
    SamplerConfig(),
    SamplerConfig(temperature=0.0),
    SamplerConfig(temperature=1.3, top_k=20, min_p=0.01),
]


def make(vocabulary: Vocabulary, **options: Any) -> LSTMLanguageModel:
    sizes = {"embedding_dim": 16, "hidden_size": 24, "dropout": 0.0, **options}
    return LSTMLanguageModel(vocabulary, ModelConfig(**sizes))


@pytest.mark.parametrize("options", LAYERS)
def test_a_model_reads_as_on_the_cpu(stream: TokenStream, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
    model = make(vocabulary, **options)
    on_cpu, scored = evaluate(model, stream).log_prob, score(model, "展昭道：“得罪了。”").log_prob
    model.cuda()
    assert math.isclose(evaluate(model, stream).log_prob, on_cpu, rel_tol=1e-4)
    assert math.isclose(score(model, "展昭道：“得罪了。”").log_prob, scored, rel_tol=1e-4)


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_training_follows_the_course_it_has_on_the_cpu(
    stream: TokenStream, vocabulary: Vocabulary, options: dict[str, Any], precision: str
) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        config = TrainerConfig(
            max_epochs=3,
            batch_size=2,
            bptt_len=20,
            device=device,
            precision=precision if device == "cuda" else "auto",  # type: ignore[arg-type]
        )
        history = Trainer(make(vocabulary, **options), stream, stream, config, progress=False).fit()
        losses.append([record["valid_loss"] for record in history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "float32" else 2e-2)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_an_update_does_not_wait_for_the_device(
    stream: TokenStream, vocabulary: Vocabulary, options: dict[str, Any], precision: str
) -> None:
    config = TrainerConfig(batch_size=2, bptt_len=10, device="cuda", precision=precision)  # type: ignore[arg-type]
    model = make(vocabulary, dropout=0.1, **options)
    updater, state = Updater(model, vocabulary.encode_stream(stream), config, Ranks()), TrainerState()
    with sparse_embedding(model), matrix_precision(torch.device("cuda"), precision):
        for _ in range(3):  # libraries set themselves up
            updater.update(state)
        try:
            torch.cuda.set_sync_debug_mode("error")
            for _ in range(3):
                updater.update(state)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_texts_are_generated_with_the_models_probabilities(
    vocabulary: Vocabulary, options: dict[str, Any], settings: SamplerConfig
) -> None:
    model = make(vocabulary, **options)
    sampler = Sampler(model, settings)
    # The sampler follows the model to its device.
    model.cuda()
    prompts = ["", "展昭道：", "夜里三更，", "二人", "雪"]
    results = sampler.generate(prompts, num_samples=2, max_new_tokens=40, return_results=True)
    for number, result in enumerate(results):
        prompt = prompts[number // 2]
        assert result.text.startswith(prompt)
        expected = score(model, result.text).log_probs[len(prompt) :]
        assert result.log_probs == pytest.approx(expected, abs=1e-3)
    texts = [result.text for result in results]
    assert texts == sampler.generate(prompts, num_samples=2, max_new_tokens=40)
    (beam,) = sampler.beam_search("展昭", num_beams=3, max_characters=20)
    assert len(beam.text) == 20


def test_text_goes_on_from_a_state(vocabulary: Vocabulary) -> None:
    sampler = Sampler(make(vocabulary, num_layers=2).cuda(), SamplerConfig(balanced_pairs=False))
    whole = sampler.generate("展昭", max_new_tokens=30)
    begun = sampler.generate("展昭", max_new_tokens=12, return_results=True)
    assert begun.text + sampler.generate(state=begun.state, max_new_tokens=18) == whole


def test_a_damaged_model_is_told_of(vocabulary: Vocabulary) -> None:
    model = make(vocabulary).cuda()
    sampler = Sampler(model)
    sampler.generate("展昭", max_new_tokens=3)
    with torch.no_grad():
        model.layers[0].get_parameter("weight_hh_l0").fill_(math.nan)
    with pytest.raises(NonFiniteError, match="weights are damaged"):
        sampler.generate("展昭", max_new_tokens=3)


def test_threads_share_a_sampler(vocabulary: Vocabulary) -> None:
    sampler = Sampler(make(vocabulary).cuda())
    alone = [sampler.generate(prompt, max_new_tokens=60) for prompt in ("展昭", "白玉堂", "雪", "二人")]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda prompt: sampler.generate(prompt, max_new_tokens=60), ("展昭", "白玉堂", "雪", "二人"))
        )
    assert together == alone
