"""The page: its words and log-probabilities beside those of the same model in Python."""

import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import zh_lstm_lm.integrations.page
from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    DataError,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    export_html,
    from_pretrained,
    score,
)
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.corpus.token_stream import sample_novel
from zh_lstm_lm.integrations.page import export
from zh_lstm_lm.integrations.page.ngram_packing import pack_ngrams
from zh_lstm_lm.integrations.page.quantisation import quantise_model
from zh_lstm_lm.models.components import nested_models

SOURCES = Path(zh_lstm_lm.integrations.page.__file__).parent
NODE = shutil.which("node")
OPTIONS = [
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 0.8, "top_p": 0.95},
    {"temperature": 1.2, "top_p": 0.6, "min_p": 0.02},
    {"temperature": 0.9, "top_k": 5, "top_p": 0.9},
    {"temperature": 1.5, "top_p": 1.0, "min_p": 0.2},
]
NAMES = {"temperature": "temperature", "top_p": "topP", "min_p": "minP", "top_k": "topK"}
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def in_page(page: Path, tmp_path: Path, **cases: Any) -> dict[str, Any]:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"prompt": "", "ids": [], "settings": [], "texts": [], "seeds": [], **cases}))
    command = [str(NODE), str(Path(__file__).with_name("run_page.mjs")), str(SOURCES), str(page), str(file)]
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return result


CONFIGS = {
    "adaptive": ModelConfig(
        embedding_dim=12, hidden_size=16, num_layers=2, output="adaptive", cutoffs=(20, 60), tie_weights=False
    ),
    "full": ModelConfig(embedding_dim=12, hidden_size=16),
    "tied": ModelConfig(embedding_dim=12, hidden_size=16, tie_weights=True),
    "tied, adaptive": ModelConfig(
        embedding_dim=12, hidden_size=16, tie_weights=True, output="adaptive", cutoffs=(20, 60)
    ),
}


def mixed(lstm: LSTMLanguageModel, stream: TokenStream) -> ContinuousCache:
    """A mixture as `train` saves it, with a cache that the text of a test fills."""
    ngram = NGramLanguageModel.from_stream(stream, lstm.vocabulary, order=4, prune=(0, 0, 0, 1))
    return ContinuousCache(Mixture([lstm, ngram], [0.6, 0.4]), cache_size=100, cache_weight=0.2)


@pytest.fixture(params=[*CONFIGS, "mixture", "fitted"])
def any_model(request: pytest.FixtureRequest, vocabulary: Vocabulary, stream: TokenStream) -> Any:
    lstm = LSTMLanguageModel(vocabulary, CONFIGS.get(request.param, CONFIGS["adaptive"])).eval()
    if request.param in CONFIGS:
        return lstm
    mixture = mixed(lstm, stream)
    if request.param == "fitted":
        mixture.training_summary["weights"] = "fitted on 100 tokens"
    return mixture


@needs_node
def test_the_page_writes_what_python_writes(any_model: Any, tmp_path: Path) -> None:
    """2,000 words at each of five settings, of the usual kinds of models; a fitted cache has less weight in them."""
    weight = 0.05 if "weights" in any_model.training_summary else None
    made = export.make_page(any_model, title="page")
    page = tmp_path / "page.html"
    page.write_bytes(made.html)
    model: Any = made.model
    for each in nested_models(model):
        if isinstance(each, LSTMLanguageModel):
            each.double()
    prompt, count = "展昭道：“", 400 if "output.bias" in getattr(any_model, "state_dict", dict)() else 2000
    ids = model.vocabulary.encode(prompt)
    settings, expected = [], []
    for number, options in enumerate(OPTIONS):
        generator = random.Random(f"{number} 0")
        uniforms = [generator.random() for _ in range(2 * count)]
        limits = {"maxTokens": count} if number % 2 else {"maxTokens": 2 * count, "maxCharacters": count}
        settings.append(
            {"options": {NAMES[name]: value for name, value in options.items()}, "limits": limits, "uniforms": uniforms}
        )
        sampler = Sampler(model, SamplerConfig(**options, seed=number, cache_weight=weight))  # type: ignore[arg-type]
        most = len(prompt) + count if "maxCharacters" in limits else None
        result = sampler.generate(prompt, max_new_tokens=limits["maxTokens"], max_characters=most, return_results=True)
        expected.append(list(result.ids))
    found = in_page(page, tmp_path, prompt=prompt, ids=ids, settings=settings)
    assert [each["ids"] for each in found["written"]] == expected
    with torch.inference_mode():
        context, _ = model.read(torch.tensor([[model.vocabulary.bos_id, *ids]]))
        log_probs = model.log_probs(context.rows([-1]))[0]
    assert torch.allclose(torch.tensor(found["logProbs"], dtype=torch.float64), log_probs.double(), atol=1e-5)


@needs_node
def test_text_is_divided_without_loss(model: LSTMLanguageModel, tmp_path: Path) -> None:
    page = export_html(model, tmp_path / "page.html")
    texts = ["展昭道：好。\n\n鑫𠮷x", "", "\n"]
    seeds = [0, 1, 2**40 + 7]
    found = in_page(page, tmp_path, texts=texts, seeds=[str(seed) for seed in seeds])
    for text, tokens in zip(texts, found["encoded"], strict=True):
        assert "".join(piece for _, piece in tokens) == text
        assert [token_id for token_id, _ in tokens] == model.vocabulary.encode(text)
    generators = map(random.Random, seeds)
    assert found["numbers"] == [[generator.random(), generator.random()] for generator in generators]


def test_quantisation_costs_little(model: LSTMLanguageModel) -> None:
    ids = torch.tensor([model.vocabulary.encode("展昭道：“好大的雪！”")])
    with torch.inference_mode():
        before, _ = model(ids)
        after, _ = quantise_model(model).model(ids)
    assert (before.log_softmax(-1) - after.log_softmax(-1)).abs().max() < 0.05


def test_the_page_allows_no_connection(model: LSTMLanguageModel, tmp_path: Path) -> None:
    page = export_html(model, tmp_path / "a<b.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|https?://", page.split('<script id="weights"')[0])
    assert "<title>a&lt;b</title>" in page


def test_what_cannot_be_written_is_refused(
    model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = export_html(model, tmp_path / "page.html")
    with pytest.raises(DataError, match="exists already"):
        export_html(model, page)
    export_html(model, page, overwrite=True)
    with pytest.raises(DataError, match="no folder"):
        export_html(model, tmp_path / "none" / "page.html")
    monkeypatch.setattr(export, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="would fit"):
        export_html(model, tmp_path / "large.html")
    assert not (tmp_path / "large.html").exists()


def test_what_is_said_to_fit_does(stream: TokenStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_BYTES", 4_000_000)
    words = TokenStream.from_texts(["".join(chr(0x4E00 + i) for i in range(4000))], tokenizer="characters")

    def export_sizes(embedding_dim: int, hidden_size: int, max_size: int | None = None) -> Path:
        config = ModelConfig(
            embedding_dim=embedding_dim, hidden_size=hidden_size, output="full", character_vectors=False
        )
        model = LSTMLanguageModel(Vocabulary.from_stream(words, max_size=max_size), config)
        return export_html(model, tmp_path / "page.html", overwrite=True)

    for sizes in ((256, 512), (600, 400), (8, 1000)):
        with pytest.raises(ConfigError, match="would fit") as refused:
            export_sizes(*sizes)
        found = re.search(r"embedding_dim=(\d+) and hidden_size=(\d+)", str(refused.value))
        assert found is not None
        assert export_sizes(int(found[1]), int(found[2])).stat().st_size > 3_000_000
        number = re.search(r"about ([\d,]+) words", str(refused.value))
        assert (number is None) == (sizes == (8, 1000))
        if number is not None:
            export_sizes(*sizes, max_size=int(number[1].replace(",", "")))


def test_the_command_reports_parts_and_loss(
    model: LSTMLanguageModel,
    stream: TokenStream,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "NGRAM_BYTES", 600)
    # With these untrained weights fewer n-grams are worse, as they are with trained ones.
    model = LSTMLanguageModel(model.vocabulary, replace(model.config, tie_weights=False)).eval()
    mixture = mixed(model, stream)
    mixture.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("展昭道：好。\n", encoding="utf-8")
    command = ["export", str(tmp_path / "model"), "--format", "html", "--output", str(tmp_path / "page.html")]
    assert main([*command, "--text", str(tmp_path / "text.txt")]) == 0
    printed = capsys.readouterr().out
    sizes = {name: float(size) for name, size in re.findall(r"([\w-]+) ([\d.]+) KB", printed)}
    assert sorted(sizes) == ["code", "n-grams", "vocabulary", "weights"]
    made = export.make_page(from_pretrained(tmp_path / "model"), title="page")
    assert sizes == {name: round(size / 1000) for name, size in made.sizes.items()}
    assert sum(sizes.values()) == pytest.approx((tmp_path / "page.html").stat().st_size / 1000, abs=3)
    assert (tmp_path / "page.html").read_bytes() == made.html
    assert sizes["n-grams"] <= 1
    kept, whole = (int(each) for each in re.search(r"([\d,]+) of ([\d,]+) n-grams", printed.replace(",", "")).groups())  # type: ignore[union-attr]
    assert 0 < kept < whole == sum(mixture.model.models[1].num_ngrams[1:])  # type: ignore[attr-defined]
    before, rounded, pruned = (float(each) for each in re.findall(r" (\d\.\d{4})", printed))
    scored = [score(each, "展昭道：好。\n").bits_per_character for each in (mixture, made.rounded, made.model)]
    assert [before, rounded, pruned] == pytest.approx(scored, abs=1e-4)
    assert rounded == pytest.approx(before, abs=0.02)
    assert pruned > before
    differences = [float(each) for each in re.findall(r"\(([+-]\d\.\d{4})\)", printed)]
    assert differences == pytest.approx([rounded - before, pruned - before], abs=1.1e-4)
    assert f"bits per character of {tmp_path / 'text.txt'}: " in printed
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    other = str(tmp_path / "other.html")
    assert main([*command[:-1], other, "--text", str(tmp_path / "none.txt")]) == 2
    assert "none.txt: cannot be read" in capsys.readouterr().err
    assert not Path(other).exists()
    assert main([*command, "--overwrite"]) == 0
    novella = score(mixture, sample_novel()[:5000]).bits_per_character
    assert f"bits per character of the bundled novella: {novella:.4f}, " in capsys.readouterr().out
    assert main([*command[:3], "onnx", *command[4:], "--overwrite"]) == 2
    assert "--overwrite goes with --format html, got --format onnx; leave it out" in capsys.readouterr().err


def test_the_options_of_the_model_are_in_its_page(
    model: LSTMLanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"top_k": 7, "top_p": 0.9, "rename": {"展昭": "李<寻欢"}, "repetition_penalty": 1.1, "penalty_window": 64}
    model.generation_config = SamplerConfig(**options).to_dict()  # type: ignore[arg-type]
    model.save_pretrained(tmp_path / "model")
    page = tmp_path / "page.html"
    assert main(["export", str(tmp_path / "model"), "--format", "html", "--output", str(page)]) == 0
    assert "a page has no repetition_penalty, penalty_window, which" in capsys.readouterr().out
    html = page.read_text(encoding="utf-8")
    assert '"topK":7' in html
    assert ">展昭=李&lt;寻欢</textarea>" in html
    assert re.search('id="topP"[^>]* value="0.9"', html)


def test_pruning_keeps_what_predicts_most(model: LSTMLanguageModel, stream: TokenStream) -> None:
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, order=4, prune=(0, 0, 0, 1))
    text = "展昭道：“好大的雪！”白玉堂笑道：“雪大，酒才好喝。”"
    whole = pack_ngrams(ngram, 1 << 20)
    assert whole.model is ngram
    sizes, costs = [], []
    for size in (900, 700, 500):
        packed = pack_ngrams(ngram, size)
        assert len(packed.data) <= size
        with torch.inference_mode():
            probs = packed.model.probs(packed.model.read(torch.tensor([model.vocabulary.encode(text)]))[0])
        assert torch.allclose(probs.sum(dim=1), torch.ones(len(probs)), atol=1e-5)
        sizes.append(sum(packed.model.num_ngrams))
        costs.append(score(packed.model, text).bits_per_character)
    assert sizes == sorted(sizes, reverse=True)
    assert costs == sorted(costs)  # type: ignore[type-var]


def test_a_page_holds_one_lstm(model: LSTMLanguageModel, stream: TokenStream, tmp_path: Path) -> None:
    other = LSTMLanguageModel(model.vocabulary, ModelConfig(embedding_dim=8, hidden_size=8))
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary)
    for each in (Mixture([model, other]), ngram, ContinuousCache(ngram, theta=0.0)):
        with pytest.raises(ConfigError, match="a page holds one LSTMLanguageModel"):
            export_html(each, tmp_path / "page.html")


def test_a_stream_is_no_model(stream: TokenStream, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model must be a LanguageModel"):
        export_html(stream, tmp_path / "page.html")  # type: ignore[arg-type]
