import json
from pathlib import Path

import pytest

from zh_lstm_lm import (
    ConfigError,
    EpochSamples,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)
from zh_lstm_lm.cli.main import main


def trained(stream: TokenStream, vocabulary: Vocabulary, run: Path, **options: int) -> Trainer:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8))
    config = TrainerConfig(run_dir=run, bptt_len=5, schedule="constant", **options)  # type: ignore[arg-type]
    trainer = Trainer(model, stream, None, config, callbacks=[EpochSamples("展昭", max_characters=20)], progress=False)
    trainer.fit(resume=True)
    return trainer


def test_every_record_gets_a_passage_of_its_epochs_weights(
    stream: TokenStream, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    trainer = trained(stream, vocabulary, tmp_path / "run", max_epochs=3)
    passages = [record["sample"] for record in trainer.state.history]
    assert len(passages) == 3
    assert len(set(passages)) > 1, "training changes what is written"
    assert all(passage.startswith("展昭") and len(passage) == 20 for passage in passages)
    # Without a validation set the model keeps its last weights.
    sampler = Sampler(trainer.model)
    assert passages[-1] == sampler.generate("展昭", max_characters=20)
    saved = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text("utf-8").splitlines()]
    assert [record["sample"] for record in saved] == passages


def test_passages_and_curve_are_those_of_a_run_that_was_not_cut(
    stream: TokenStream, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    whole = trained(stream, vocabulary, tmp_path / "whole", max_epochs=3).state
    cut = trained(stream, vocabulary, tmp_path / "cut", max_steps=whole.steps_per_epoch + 1).state
    assert len(cut.curve) == whole.steps_per_epoch + 1
    cut = trained(stream, vocabulary, tmp_path / "cut", max_epochs=3).state
    assert cut.history[-1]["sample"] == whole.history[-1]["sample"]
    saved = [json.loads(line) for line in (tmp_path / "cut" / "curve.jsonl").read_text("utf-8").splitlines()]
    for record, other in zip(saved, whole.curve, strict=True):
        assert {**record, "seconds": 0} == {**other, "seconds": 0}


def test_the_prompt_has_to_leave_room() -> None:
    with pytest.raises(ConfigError, match="max_characters=2 includes the prompt"):
        EpochSamples("展昭", max_characters=2)
    with pytest.raises(ConfigError, match="prompt must be a str"):
        EpochSamples(3)  # type: ignore[arg-type]


def test_the_config_is_used(model: LSTMLanguageModel) -> None:
    record: dict[str, object] = {}
    config = SamplerConfig(temperature=0)
    EpochSamples(config=config, max_characters=9).on_epoch_end(None, model, record)  # type: ignore[arg-type]
    assert record["sample"] == Sampler(model, config).generate(max_characters=9)


def test_training_on_the_command_line_writes_them(texts: list[str], tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("".join(texts) * 4, encoding="utf-8")
    sizes = ["--tokenizer", "characters", "--embedding-dim", "8", "--hidden-size", "8"]
    command = ["train", str(tmp_path / "novel.txt"), "--output", str(tmp_path / "model"), "--epochs", "2", *sizes]
    assert main([*command, "--sample-prompt", "白玉堂", "--quiet"]) == 0
    lines = (tmp_path / "model.run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["sample"].startswith("白玉堂") for line in lines)


def test_a_config_of_another_kind_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="config"):
        EpochSamples(config={"temperature": 1.0})  # type: ignore[arg-type]
