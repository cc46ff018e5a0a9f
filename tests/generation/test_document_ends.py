"""Where documents end: an empty paragraph that a corpus of many documents has, and at which a text stops."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)

POEMS = ["春山月，夏水风。\n秋雪好，冬夜空。", "明月白，清风来。\n", "雪满山。"]


def read(tmp_path: Path, **options: Any) -> list[TokenStream]:
    """The poems from files of every kind, and from memory."""
    records = [{"poem": poem} for poem in POEMS]
    (tmp_path / "a.json").write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (tmp_path / "c.csv").write_text("poem\n" + "".join(f'"{poem}"\n' for poem in POEMS), encoding="utf-8")
    (tmp_path / "texts").mkdir(exist_ok=True)
    for number, poem in enumerate(POEMS):
        (tmp_path / "texts" / f"{number}.txt").write_text(poem, encoding="utf-8")
    reading = {"tokenizer": "characters", "cache_dir": tmp_path / "cache", **options}
    return [
        *(
            TokenStream.from_records(tmp_path / name, text_field="poem", **reading)
            for name in ("a.json", "b.jsonl", "c.csv")
        ),
        TokenStream.from_files(tmp_path / "texts", **reading),
        TokenStream.from_texts(POEMS, tokenizer="characters", **options),
    ]


def test_documents_end_with_an_empty_paragraph_if_that_is_asked_for(tmp_path: Path) -> None:
    for stream in read(tmp_path):
        assert list(stream.texts()) == [poem.strip() + "\n" for poem in POEMS]
    for stream in read(tmp_path, document_ends=True):
        assert list(stream.texts()) == [poem.strip() + "\n\n" for poem in POEMS]
        assert stream.num_documents == 3
    empty = TokenStream.from_texts(["", "雪。", ""], tokenizer="characters", document_ends=True)
    assert list(empty.texts()) == ["雪。\n\n"]
    with pytest.raises(ConfigError, match="document_ends must be a bool"):
        TokenStream.from_texts(POEMS, document_ends="yes")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> LSTMLanguageModel:
    """A model that knows the poems by heart."""
    torch.set_num_threads(1)
    stream = TokenStream.from_texts(POEMS * 10, tokenizer="characters", document_ends=True)
    model = LSTMLanguageModel(
        Vocabulary.from_stream(stream), ModelConfig(embedding_dim=16, hidden_size=32, dropout=0.0)
    )
    config = TrainerConfig(max_steps=150, batch_size=3, bptt_len=24, learning_rate=0.02, warmup_steps=0)
    Trainer(model, stream, None, config, progress=False).fit()
    return model


def test_a_text_stops_at_the_end_of_its_document(model: LSTMLanguageModel, tmp_path: Path) -> None:
    sampler = Sampler(model, SamplerConfig(temperature=0.5))
    prompts = [poem[:2] for poem in POEMS]
    results = sampler.generate(prompts, stop="document", return_results=True)
    assert [result.text for result in results] == [poem.strip() + "\n" for poem in POEMS]
    for prompt, result in zip(prompts, results, strict=True):
        assert result.finish_reason == "document"
        assert prompt + "".join(result.tokens) == result.text
    assert "".join(sampler.stream("明月", stop="document")) == POEMS[1]
    path = sampler.write(tmp_path / "a.txt", prompt="明月", stop=["document"])
    assert path.read_text(encoding="utf-8") == POEMS[1]
    assert sampler.generate("明月白", stop="document") == POEMS[1]
    # Other limits come first, and a minimum waits.
    assert sampler.generate("明月白", stop=["document", "来"]) == "明月白，清风来"
    longer = sampler.generate("明月白", stop="document", min_new_tokens=12)
    assert longer.startswith(POEMS[1] + "\n")
    assert sampler.beam_search("雪满", stop="document", num_beams=2)[0].text == POEMS[2] + "\n"


def test_an_ngram_model_learns_the_ends_too() -> None:
    stream = TokenStream.from_texts(POEMS * 10, tokenizer="characters", document_ends=True)
    ngram = NGramLanguageModel.from_stream(stream, Vocabulary.from_stream(stream))
    text = Sampler(ngram, SamplerConfig(temperature=0.0)).generate("雪满山", stop="document", return_results=True)
    assert (text.text, text.finish_reason) == (POEMS[2] + "\n", "document")


def test_forms_go_with_the_ends_of_documents(model: LSTMLanguageModel) -> None:
    sampler = Sampler(model, SamplerConfig(temperature=1.0))
    for result in sampler.generate([""], num_samples=200, line_lengths=3, stop="document", return_results=True):
        lines = [line for line in result.text.replace("，", "\n").replace("。", "\n").split("\n") if line]
        assert set(map(len, lines)) == {3}
        assert "\n\n" not in result.text
        assert result.unmet == ()
    for result in sampler.generate(
        [""], num_samples=200, must_contain=["雪", "清风"], stop="document", max_new_tokens=80, return_results=True
    ):
        assert "雪" in result.text
        assert "清风" in result.text
        assert result.finish_reason == "document"
