"""Whole studies on tiny texts: their results, resuming, and refused options."""

import dataclasses
import datetime
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    History,
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    StudyConfig,
    StudyResult,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    evaluate,
    novelty,
    study,
)
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.storage.locks import lock_folder
from zh_lstm_lm.studies import cells
from zh_lstm_lm.studies.kinds import KINDS
from zh_lstm_lm.training.callbacks import Callback

SIZES = ModelConfig(embedding_dim=8, hidden_size=8, dropout=0.1)
TRAINING = TrainerConfig(batch_size=4, bptt_len=16)
TIMES = {"seconds", "microseconds_per_token", "microseconds_per_character"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(texts: list[str]) -> TokenStream:
    return TokenStream.from_texts([text * 12 for text in texts], tokenizer="characters")


def run(kind: str, corpus: TokenStream, output: Path | None = None, **options: Any) -> StudyResult:
    training = options.pop("trainer_config", TRAINING)
    config = StudyConfig(**{"lengths": (4, 16), "budget": 1, "seeds": (0, 1), **options})
    return study(kind, corpus, config, model_config=SIZES, trainer_config=training, output=output, progress=False)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def seq_len(corpus: TokenStream, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResult, Path]:
    folder = tmp_path_factory.mktemp("studies") / "deep" / "lengths"
    return run("seq-len", corpus, folder), folder


def documented_fields(kind: str) -> set[str]:
    """The fields that the documentation lists at the beginning of the lines of its lists."""
    text = f"{cells.__doc__}\n{KINDS[kind].__doc__}"
    return {
        name for names in re.findall(r"^ *- (``.*?):", text, flags=re.MULTILINE) for name in re.findall(r"\w+", names)
    }


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_there_is_a_row_for_each_setting_and_seed_with_every_documented_field(
    seq_len: tuple[StudyResult, Path],
) -> None:
    result, _ = seq_len
    assert result.complete
    assert [(row["seed"], row["bptt_len"]) for row in result.rows] == [(0, 4), (0, 16), (1, 4), (1, 16)]
    for row in result.rows:
        assert row.keys() == documented_fields("seq-len")
        assert len(row["loss_by_position"]) == 16
        assert len(row["loss_by_context"]) == len(row["context_tokens"])
        assert len(row["passage"]) == 120
        assert row["gap_nats"] == row["test_loss"] - row["train_loss"]


def test_folder_holds_the_result_as_strict_json_and_nothing_else(seq_len: tuple[StudyResult, Path]) -> None:
    result, folder = seq_len
    assert StudyResult.load(folder) == result
    values = json.loads((folder / "study.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (values["format"], values["kind"], values["equality"]) == (1, "seq-len", "tokens")
    assert not list(folder.glob("runs/*")), "what a run needed to go on is cleared away once it is measured"


def test_figures_are_those_of_the_same_training_by_hand(seq_len: tuple[StudyResult, Path], corpus: TokenStream) -> None:
    row = seq_len[0].rows[3]
    train, valid, test = corpus.split()
    vocabulary = Vocabulary.from_stream(train, min_freq=2)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, dropout=0.1, seed=1))
    config = TrainerConfig(batch_size=4, bptt_len=16, max_epochs=1, seed=1)
    history = Trainer(model, train, valid, config, progress=False).fit()
    assert row["test_bits_per_character"] == pytest.approx(evaluate(model, test).bits_per_character)
    assert row["train_perplexity"] == pytest.approx(evaluate(model, train).perplexity)
    ngram = NGramLanguageModel.from_stream(train, vocabulary)
    assert row["ngram_bits_per_character"] == evaluate(ngram, test).bits_per_character
    assert row["gradient_norm"] == pytest.approx(history[0]["gradient_norm"])
    assert row["clipped_share"] == history[0]["clipped_share"]
    assert row["valid_bits_per_character_by_epoch"] == [pytest.approx(history[0]["valid_bits_per_character"])]


def test_settings_get_equal_tokens_or_equal_updates(seq_len: tuple[StudyResult, Path], corpus: TokenStream) -> None:
    short, long = seq_len[0].rows[:2]
    assert short["epochs"] == long["epochs"] == 1.0
    assert short["updates"] > 3 * long["updates"]
    equal = run("seq-len", corpus, equality="updates", budget=30)
    assert {row["updates"] for row in equal.rows} == {30}
    assert equal.rows[1]["tokens_read"] == pytest.approx(4 * equal.rows[0]["tokens_read"], rel=0.05)
    timed = run("seq-len", corpus, equality="minutes", budget=0.003)
    assert timed.complete
    assert timed.equality == "minutes"


def test_state_may_be_reset_at_every_window(seq_len: tuple[StudyResult, Path], corpus: TokenStream) -> None:
    reset = run("seq-len", corpus, trainer_config=TrainerConfig(batch_size=4, carry_state=False))
    assert reset.options["training"]["carry_state"] is False
    assert seq_len[0].options["training"]["carry_state"] is True
    assert without_times(reset.rows) != without_times(seq_len[0].rows)


def test_table_has_a_line_for_each_setting(seq_len: tuple[StudyResult, Path]) -> None:
    result, _ = seq_len
    heading, _, first, second = result.table().splitlines()
    assert "test bits/character" in heading
    bits = [row["test_bits_per_character"] for row in result.rows if row["bptt_len"] == 4]
    assert f"{sum(bits) / 2:.3f} ± " in first
    assert first.split()[1] == "4"
    assert second.split()[1] == "16"
    assert str(result).count("\n") >= 2 + len(result.claims)


def test_a_study_goes_on_where_it_was_also_inside_a_run(
    corpus: TokenStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Callback):
        """Stops the third run in its second epoch, as Ctrl-C would."""

        runs = 0

        def __init__(self) -> None:
            Interrupting.runs += 1

        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if Interrupting.runs == 3 and state.epoch > 1.5:
                state.request_stop("interrupted")

    options: dict[str, Any] = {"budget": 2, "lengths": (8, 16)}
    whole = run("seq-len", corpus, **options)
    config = StudyConfig(seeds=(0, 1), **options)
    arguments: dict[str, Any] = {"model_config": SIZES, "trainer_config": TRAINING, "output": tmp_path / "s"}
    monkeypatch.setattr(importlib.import_module("zh_lstm_lm.studies.base"), "RunProgress", Interrupting)
    begun = study("seq-len", corpus, config, **arguments)
    assert not begun.complete
    assert len(begun.rows) == 2
    assert begun.claims == []
    assert StudyResult.load(tmp_path / "s") == begun
    assert list((tmp_path / "s" / "runs").glob("*/checkpoint-*")), "the third run is kept where it was"
    going_on = study("seq-len", corpus, config, **arguments)
    assert Interrupting.runs == 5, "what was finished is not trained again"
    assert without_times(going_on.rows) == without_times(whole.rows)
    assert study("seq-len", corpus, config, **arguments) == going_on
    assert Interrupting.runs == 5


def test_a_folder_with_another_study_is_refused(
    seq_len: tuple[StudyResult, Path], corpus: TokenStream, texts: list[str]
) -> None:
    result, folder = seq_len
    other = TokenStream.from_texts([text * 13 for text in texts], tokenizer="characters")
    for text, kind, options in (
        ("kind='seq-len', got 'epochs'", "epochs", {}),
        ("lengths=.4, 16., got .4, 8.", "seq-len", {"lengths": (4, 8)}),
        ("seeds=.0, 1., got .0, 2.", "seq-len", {"seeds": (0, 2)}),
        ("budget=1, got 2", "seq-len", {"budget": 2}),
        ("equality='tokens', got 'updates'", "seq-len", {"equality": "updates"}),
    ):
        with pytest.raises(ConfigError, match=text):
            run(kind, corpus, folder, **options)
    with pytest.raises(ConfigError, match="holds a study with characters="):
        run("seq-len", other, folder)
    assert StudyResult.load(folder) == result


def test_a_place_that_holds_something_else_is_refused(corpus: TokenStream, tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("话说", encoding="utf-8")
    for place in (tmp_path, tmp_path / "novel.txt"):
        with pytest.raises(ConfigError, match="no study"):
            run("seq-len", corpus, place)
    with pytest.raises(CheckpointError, match=r"study\.json"):
        StudyResult.load(tmp_path)


def test_two_processes_do_not_work_in_one_folder(seq_len: tuple[StudyResult, Path], corpus: TokenStream) -> None:
    result, folder = seq_len
    with lock_folder(folder), pytest.raises(CheckpointError, match="at work in it"):
        run("seq-len", corpus, folder)
    assert run("seq-len", corpus, folder) == result


def test_another_day_is_the_same_environment_and_another_torch_is_not(
    seq_len: tuple[StudyResult, Path], corpus: TokenStream, caplog: pytest.LogCaptureFixture
) -> None:
    result, folder = seq_len
    assert datetime.date.fromisoformat(result.environment["date"]).year >= 2024
    for name, value, warnings in (("date", "2020-02-02", 0), ("torch", "1.0.0", 1)):
        dataclasses.replace(result, environment={**result.environment, name: value}).save(folder)
        assert run("seq-len", corpus, folder).rows == result.rows
        assert len([record for record in caplog.records if "another environment" in record.message]) == warnings
    result.save(folder)


def test_lists_by_epoch_leave_out_evaluations_inside_an_epoch(
    corpus: TokenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evaluating(Trainer):
        """A trainer with an evaluation inside the first epoch, the best one of its run."""

        def fit(self, *, resume: bool = False) -> History:
            history = super().fit(resume=resume)
            return History([{**history[0], "epoch": 0.5, "step": history[0]["step"] // 2, "valid_loss": 0.0}, *history])

    whole = run("seq-len", corpus, budget=2)
    monkeypatch.setattr("zh_lstm_lm.studies.base.Trainer", Evaluating)
    found = run("seq-len", corpus, budget=2)
    assert found.rows[0]["epoch"] == [1.0, 2.0]
    assert without_times(found.rows) == without_times(whole.rows)


def test_lengths_that_do_not_fit_the_corpus_are_refused(corpus: TokenStream) -> None:
    with pytest.raises(ConfigError, match=r"5000 exceeds the [\d,]+ tokens of a batch row"):
        run("seq-len", corpus, lengths=(5, 5000))
    with pytest.raises(ConfigError, match=r"300 exceeds the [\d,]+ tokens of the test set"):
        run("seq-len", corpus, lengths=(5, 300))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": (0,)}, "one run has no spread"),
        ({"seeds": (0, 0)}, "seeds"),
        ({"seeds": 3}, "seeds"),
        ({"seeds": ([0], 1)}, "seed"),
        ({"seeds": (0, -1)}, "seed"),
        ({"lengths": (5,)}, "lengths"),
        ({"lengths": (0, 5)}, "length"),
        ({"equality": "time"}, "'tokens', 'updates', 'minutes'"),
        ({"budget": 0.5}, "budget"),
        ({"budget": 0, "equality": "minutes"}, "budget"),
        ({"shares": (0.5, 0.75)}, "shares"),
        ({"shares": (0, 1)}, "shares"),
        ({"max_sizes": (1000,)}, "max_sizes"),
        ({"tokenizers": ()}, "tokenizers"),
        ({"min_freq": 0}, "min_freq"),
        ({"prompt": None}, "prompt"),
        ({"length": (5, 10)}, "did you mean 'lengths'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudyConfig(**options)


def test_wrong_arguments_are_refused(corpus: TokenStream) -> None:
    with pytest.raises(ConfigError, match="did you mean 'seq-len'"):
        study("seqlen", corpus)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="corpus"):
        study("seq-len", "novels/")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="config"):
        study("seq-len", corpus, TRAINING)  # type: ignore[arg-type]


def test_epochs_write_after_each_and_shares_get_equal_tokens(corpus: TokenStream) -> None:
    result = run("epochs", corpus, budget=2, shares=(0.5, 1.0))
    assert result.complete
    for row in result.rows:
        assert row.keys() == documented_fields("epochs")
        assert len(row["passage_by_epoch"]) == len(row["epoch"]) == len(row["valid_perplexity_by_epoch"])
        assert row["best_epoch"] in row["epoch"]
        train = corpus.split()[0] if row["train_share"] == 1 else corpus.split()[0].split(valid=0.5, test=0.0)[0]
        written = novelty(row["passage_by_epoch"][-1], train)
        assert row["novelty_by_epoch"][-1] == written.new_words[2]
        assert row["longest_copy_by_epoch"][-1] == written.longest_copy
    half, whole = result.rows[:2]
    assert whole["epoch"] == [1.0, 2.0]
    assert whole["passage_by_epoch"][0] != whole["passage_by_epoch"][1]
    assert half["train_tokens"] == pytest.approx(whole["train_tokens"] / 2, rel=0.1)
    assert half["updates"] == whole["updates"]
    assert half["tokens_read"] == pytest.approx(whole["tokens_read"], rel=0.1)
    assert {claim["name"] for claim in result.claims} == {"perplexity", "overfitting", "novelty", "more_text"}


def test_vocabularies_differ_in_size_spelling_and_tokens(corpus: TokenStream) -> None:
    pytest.importorskip("rjieba")
    result = run("vocabulary", corpus, max_sizes=(300, 500), tokenizers=("rjieba",))
    assert result.complete
    assert [(row["tokenizer"], row["unknown"], row["max_size"]) for row in result.rows[:4]] == [
        ("characters", "characters", 300),
        ("characters", "characters", 500),
        ("characters", "unk", 60_000),
        ("rjieba", "characters", 60_000),
    ]
    small, large, closed, words = result.rows[:4]
    for row in result.rows:
        assert row.keys() == documented_fields("vocabulary")
    assert small["vocabulary_size"] == 300
    assert small["characters_per_token"] < large["characters_per_token"] < words["characters_per_token"]
    assert closed["test_bits_per_character"] is None
    assert closed["unknown_rate"] >= 0.0
    assert "-" in result.table().splitlines()[4].split()
    train = corpus.split()[0]
    ids = Vocabulary.from_stream(train, min_freq=2, max_size=300).encode_stream(train)
    ratio = small["microseconds_per_character"] / small["microseconds_per_token"]
    assert ratio == pytest.approx(len(ids) / train.num_characters)


def test_command_prints_the_table_and_the_claims(
    tmp_path: Path, texts: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "novel.txt").write_text("".join(texts) * 12, encoding="utf-8")
    command = ["study", "seq-len", str(tmp_path / "novel.txt"), "--output", str(tmp_path / "out"), "--clean", "none"]
    command += ["--tokenizer", "characters", "--embedding-dim", "8", "--hidden-size", "8", "--batch-size", "4"]
    command += ["--seeds", "0", "1", "--budget", "1", "--lengths", "4", "16"]

    class Interrupting(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            state.request_stop("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module("zh_lstm_lm.studies.base"), "RunProgress", Interrupting)
        assert main(command) == 130
    assert "0 runs are in" in capsys.readouterr().err
    assert main(command) == 0
    shown = capsys.readouterr().out
    result = StudyResult.load(tmp_path / "out")
    assert "4/4  bptt_len 16, seed 1:" in shown
    assert result.table() in shown
    assert all(claim["figure"]["en"] in shown for claim in result.claims)
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--reset-state"]) == 2
    assert "carry_state" in capsys.readouterr().err
    assert main([*command, "--equality", "words"]) == 2
    assert "'tokens', 'updates', 'minutes'" in capsys.readouterr().err
