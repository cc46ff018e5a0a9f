"""Each option of ``train``, held to its effect by a run that has all of them away from their defaults."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    ContinuousCache,
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    TokenStream,
    TrainerConfig,
    Vocabulary,
    evaluate,
    from_pretrained,
    novelty,
)
from zh_lstm_lm.cli import train as train_command
from zh_lstm_lm.cli.common import duration
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.evaluation import evaluate as evaluation
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.components import nested_models
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.training.updater import Updater

SIZES = ["--tokenizer", "characters", "--embedding-dim", "4", "--hidden-size", "4"]
VOCABULARY: dict[str, Any] = {"min_freq": 8, "unknown": "unk"}
MODEL = {"embedding_dim": 6, "hidden_size": 6, "num_layers": 2, "dropout": 0.25, "tie_weights": True}
TRAINING = {
    "max_epochs": 2,
    "max_steps": 1000,
    "max_minutes": 50.0,
    "batch_size": 2,
    "bptt_len": 7,
    "learning_rate": 0.01,
    "max_grad_norm": 0.125,
    "eval_steps": 3,
    "patience": 4,
    "seed": 9,
    "precision": "float32",
}
READING = {"encoding": "gb18030", "clean": "empty_lines", "normalize": "nfc"}


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


@pytest.fixture(scope="module", autouse=True)
def _trained(folder: Path) -> None:
    """The run: its model in ``trained``, its history in ``the-run``."""
    options = {**VOCABULARY, **MODEL, **TRAINING, **READING, "tokenizer": "jieba", "valid": 0.2, "test": 0.1}
    options.update(softmax="full", sample_prompt="白玉堂", device="cpu", workers=1)
    options.update(order=3)
    options.update(run_dir=folder / "the-run", user_dictionary=folder / "words.txt", cache_dir=folder / "a-cache")
    words = [word for name, value in options.items() for word in (option(name), str(value)) if word != "True"]
    assert main(["train", str(folder / "novels"), "--output", str(folder / "trained"), *words, "--quiet"]) == 0


@pytest.fixture
def parts(place: Any) -> tuple[TokenStream, TokenStream, TokenStream]:
    """The parts of the corpus as the library splits it."""
    tokenizer = get_tokenizer("jieba", user_dictionary=place.folder / "words.txt")
    found: tuple[TokenStream, TokenStream, TokenStream]
    found = place.stream(tokenizer=tokenizer, **READING).split(valid=0.2, test=0.1)
    return found


def test_every_option_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("train")


@pytest.mark.options("train", *map(option, TRAINING))
@pytest.mark.parametrize("name", TRAINING)
def test_training(name: str, place: Any) -> None:
    assert place.json("the-run", "run.json")["options"][name] == TRAINING[name] != getattr(TrainerConfig(), name)


@pytest.mark.options("train", *map(option, MODEL))
@pytest.mark.parametrize("name", MODEL)
def test_model(name: str, place: Any) -> None:
    assert place.json("trained", "config.json")[name] == MODEL[name] != getattr(ModelConfig(), name)


def test_the_seed_is_also_that_of_the_first_weights(place: Any) -> None:
    assert place.json("trained", "config.json")["seed"] == TRAINING["seed"]


@pytest.mark.options("train", "--device")
def test_device(place: Any) -> None:
    assert place.json("the-run", "run.json")["options"]["device"] == "cpu"
    place.run("train", "novels", "--output", "x", "--device", "abacus", status=2)
    assert "'abacus' cannot be used here" in place.err


@pytest.mark.options("train", "--softmax", "--max-size")
def test_output_layer_and_size_of_the_vocabulary(place: Any) -> None:
    assert place.json("trained", "config.json")["output"] == "full"
    command = ["train", "novels", "--output", "adaptive", "--steps", "1", "--learning-rate", "1e-9", *SIZES]
    place.run(*command, "--softmax", "adaptive", "--max-size", "290")
    assert place.json("adaptive", "config.json")["output"] == "adaptive"
    train, *_ = place.stream().split()
    expected = Vocabulary.from_stream(train, min_freq=3, max_size=290)
    assert place.model("adaptive").vocabulary.to_dict() == expected.to_dict()
    assert len(expected) < len(Vocabulary.from_stream(train, min_freq=3, max_size=60_000))
    # The word vectors begin with what the training part tells of its words.
    trained = place.model("adaptive")
    informed, plain = (LSTMLanguageModel(expected, trained.config, text=text).state_dict() for text in (train, None))
    assert all(torch.allclose(weights, informed[name], atol=1e-6) for name, weights in trained.state_dict().items())
    assert not all(torch.allclose(weights, plain[name], atol=1e-2) for name, weights in informed.items())


@pytest.mark.parametrize(("given", "tied"), [([], True), (["--tie-weights"], True), (["--no-tie-weights"], False)])
def test_an_adaptive_softmax_is_tied_unless_it_is_refused(place: Any, given: list[str], tied: bool) -> None:
    output = "".join(["model", *given])
    place.run("train", "novels", "--output", output, "--steps", "1", *SIZES, "--softmax", "adaptive", *given)
    assert place.json(output, "config.json")["tie_weights"] is tied


@pytest.mark.options("train", *map(option, VOCABULARY))
@pytest.mark.parametrize("default", [{"min_freq": 3}, {"unknown": "characters"}])
def test_vocabulary(default: dict[str, Any], place: Any, parts: tuple[TokenStream, ...]) -> None:
    expected = Vocabulary.from_stream(parts[0], **VOCABULARY)
    assert place.model("trained").vocabulary.to_dict() == expected.to_dict()
    assert list(Vocabulary.from_stream(parts[0], **{**VOCABULARY, **default})) != list(expected)


def test_the_vocabulary_is_that_of_the_training_part(place: Any, options_of: Callable[..., Any]) -> None:
    Path("whole.txt").write_text("大闹东京。\n" * 100 + "三试颜查散。\n" * 100, encoding="utf-8")
    asked = options_of(Vocabulary, "from_stream")
    place.run("train", "whole.txt", "--output", "part", "--epochs", "1", *SIZES)
    train, *_ = place.stream("whole.txt").split(valid=0.05, test=0.05)
    counts = place.model("part").vocabulary.counts
    assert counts == Vocabulary.from_stream(train, min_freq=3, max_size=60_000).counts
    assert counts != Vocabulary.from_stream(place.stream("whole.txt"), min_freq=3).counts
    assert asked[0] == {"min_freq": 3, "max_size": 60_000}, "as the help texts tell"


def test_rare_ngrams_of_a_long_text_are_dropped(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_command, "_PRUNED_TOKENS", 10)
    place.run("train", "novels/0.txt", "--output", "pruned", "--steps", "1", *SIZES)
    train, *_ = place.stream("novels/0.txt").split()
    (found,) = (each for each in nested_models(from_pretrained("pruned")) if isinstance(each, NGramLanguageModel))
    expected = NGramLanguageModel.from_stream(train, found.vocabulary, 4, prune=(0, 0, 0, 1))
    assert found.num_ngrams == expected.num_ngrams
    assert expected.num_ngrams < NGramLanguageModel.from_stream(train, found.vocabulary, 4).num_ngrams


@pytest.mark.options(
    "train", "--valid", "--test", "--tokenizer", "--user-dictionary", "--encoding", "--clean", "--normalize"
)
def test_reading_and_splitting(place: Any, parts: tuple[TokenStream, ...]) -> None:
    described, vocabulary = place.json("the-run", "run.json")["text"], place.model("trained").vocabulary
    for name, part in zip(("train", "valid"), parts, strict=False):
        assert (described[name]["characters"], described[name]["tokens"]) == (part.num_characters, len(part))
        assert described[name]["clean"] == READING["clean"]
    sizes = [part.num_characters for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert vocabulary.normalize == "nfc"
    assert vocabulary.tokenizer.tokenize("好大的雪") == ["好大的雪"] != get_tokenizer("jieba").tokenize("好大的雪")
    place.run("train", "novels", "--output", "x", "--encoding", "utf-8", status=2)
    assert "not valid utf-8" in place.err


@pytest.mark.options("train", "--valid-file", "--test-file")
def test_sets_in_files_of_their_own(place: Any, texts: list[str]) -> None:
    for name, text in zip(("known", "later"), texts, strict=False):
        Path(f"{name}.txt").write_text(text * 3, encoding="utf-8")
    held_out = ["--valid-file", "known.txt", "--test-file", "later.txt"]
    place.run("train", "novels", "--output", "f", "--steps", "2", "--no-ngram", *SIZES, *held_out, "--valid", "0")
    described = place.json("f.run", "run.json")["text"]
    assert described["train"]["tokens"] == len(place.stream())
    assert described["valid"]["tokens"] == len(place.stream("known.txt"))
    expected = evaluate(place.model("f"), place.stream("later.txt"))
    record, summary = place.lines("f.run", "history.jsonl")[-1], place.model("f").training_summary
    assert record["test_loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert record["test_bits_per_character"] == pytest.approx(expected.bits_per_character, rel=1e-5)
    assert summary["test_bits_per_character"] == pytest.approx(expected.bits_per_character, abs=1e-4)
    place.run("train", "novels", "--output", "x", "--valid", "0.1", *held_out, status=2)
    assert "--valid and --valid-file exclude each other" in place.err
    for name in ("later.txt", str(Path("later.txt").absolute())):
        place.run("train", "novels", name, "--output", "x", *held_out, status=2)
        assert "later.txt: --test-file is among the training files" in place.err


def test_the_test_metric_is_that_of_the_test_set_wherever_it_stands(place: Any, parts: tuple[TokenStream, ...]) -> None:
    model = from_pretrained(place.folder / "trained")
    expected = evaluate(model, parts[2])
    assert expected.loss != pytest.approx(evaluate(model, parts[1]).loss, rel=1e-3)
    best = min(place.lines("the-run", "history.jsonl"), key=lambda record: record["valid_loss"])
    summary = place.model("trained").training_summary
    assert best["test_loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert best["test_perplexity"] == pytest.approx(expected.perplexity, rel=1e-5)
    assert summary["test_perplexity"] == pytest.approx(expected.perplexity, rel=1e-4)
    shown = f"test_perplexity{{}}{summary['test_perplexity']}"
    assert shown.format(": ") in (place.folder / "trained" / "README.md").read_text(encoding="utf-8")
    assert shown.format("=") in place.run("info", "trained")


def test_chosen_options_and_the_date_stand_in_the_card(place: Any) -> None:
    card = (place.folder / "trained" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"- date: \d{4}-\d\d-\d\d\n", card)
    assert "- batch_size: 2\n" in card
    rates = [record["learning_rate"] for record in place.lines("the-run", "curve.jsonl")]
    assert float(re.findall(r"- learning_rate: (.*)\n", card)[0]) == pytest.approx(max(rates), rel=0.01)


def test_the_novelty_in_the_card_is_that_of_the_training_part(place: Any, parts: tuple[TokenStream, ...]) -> None:
    texts = Sampler(from_pretrained("trained")).generate([""], num_samples=20, max_new_tokens=200)
    found = novelty("\n".join(texts), parts[0])
    new = ", ".join(f"{n}: {each:.1%}" for n, each in enumerate(found.new_words[:4], 1))
    told = f"longest copy {found.longest_copy} of {found.num_characters:,} characters; new n-grams of words {new}"
    assert place.model("trained").training_summary["novelty"] == told


@pytest.mark.options("train", "--order")
def test_the_parts_of_the_mixture_are_measured_and_saved(place: Any, parts: tuple[TokenStream, ...]) -> None:
    model = from_pretrained(place.folder / "trained")
    assert isinstance(model, ContinuousCache)
    counted = NGramLanguageModel.from_stream(parts[0], model.vocabulary, 3)
    assert NGramLanguageModel.from_pretrained(place.folder / "trained").num_ngrams == counted.num_ngrams
    best = min(place.lines("the-run", "history.jsonl"), key=lambda record: record["valid_loss"])
    for name, stream in (("valid_parts", parts[1]), ("test_parts", parts[2])):
        result = evaluate(model, stream)
        names = ["LSTM", "3-gram", "LSTM + 3-gram", "LSTM + 3-gram + cache"]
        assert [row["name"] for row in best[name]] == names
        perplexities = [each.perplexity for each in (*result.parts.values(), result)]
        assert [row["perplexity"] for row in best[name]] == pytest.approx(perplexities, abs=0.006)
        assert best[name] == model.training_summary[name]
    assert best["valid_parts"][-1]["weight"] == 1.0
    assert best["valid_parts"][0]["weight"] + best["valid_parts"][1]["weight"] == pytest.approx(
        best["valid_parts"][2]["weight"], abs=1e-3
    )
    shown = place.run("info", "trained")
    assert "LSTM + 3-gram + cache" in shown
    assert shown == place.run("info", "trained", "--quiet")
    evaluated = place.run("evaluate", "trained", "novels")
    assert re.search(r"^3-gram +weight \d\.\d+ ", evaluated, re.MULTILINE)
    place.run("train", "novels", "--output", "x", "--order", "9", status=2)
    assert "--order: invalid choice: 9" in place.err


@pytest.mark.options("train", "--no-ngram")
def test_without_ngrams_the_folder_is_that_of_an_lstm(place: Any) -> None:
    command = ["train", "novels", "--output", "alone", "--steps", "2", *SIZES]
    place.run(*command, "--no-ngram")
    assert isinstance(from_pretrained("alone"), LSTMLanguageModel)
    assert not Path("alone/mixture.json").exists()
    place.run(*command, "--resume")
    assert isinstance(from_pretrained("alone"), ContinuousCache)
    place.run(*command, "--no-ngram", "--resume")
    assert not Path("alone/mixture.json").exists()


def test_the_ngrams_are_a_model_before_the_lstm_is_trained(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a model with an LSTM lies in the folder, which stays until the end."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Updater, "update", stop)
    command = ["train", "novels", "--output", "early", "--steps", "2", *SIZES]
    shown = place.run(*command, status=130)
    assert re.search(r"^4-gram  valid  \d+ characters  \d\.\d+ bits/character", shown, re.MULTILINE)
    assert "early can be used already, as this n-gram model; the LSTM is trained next" in shown
    assert isinstance(from_pretrained("early"), NGramLanguageModel)
    assert place.run("generate", "early", "--max-new-tokens", "3", "--prompt", "展昭").startswith("展昭")
    assert "bits/character" in place.run("evaluate", "early", "novels")
    assert re.search(r"\nvalid\n4-gram .*perplexity +\d", place.run("info", "early"))
    assert place.run("score", "early", "展昭道")
    place.run("train", "novels", "--output", "next", "--from", "early", status=2)
    assert "an n-gram model without an LSTM" in place.err
    place.model().save_pretrained("early")
    place.run(*command, "--run-dir", "another", status=130)
    assert isinstance(from_pretrained("early"), LSTMLanguageModel)


def test_without_a_validation_set_the_weights_are_stated(place: Any) -> None:
    shown = place.run("train", "novels", "--output", "unfitted", "--steps", "2", "--valid", "0", *SIZES)
    assert "LSTM + 4-gram + cache: weights 0.4, 0.4, 0.2, not fitted on a validation set" in shown
    assert from_pretrained("unfitted").component_weights() == pytest.approx([0.4, 0.4, 0.2])
    assert "test_parts" in place.lines("unfitted.run", "history.jsonl")[-1]


def test_a_perplexity_beyond_all_numbers_is_left_out(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(model: Any, stream: TokenStream) -> EvaluationResult:
        result = evaluate(model, stream)
        return dataclasses.replace(result, log_prob=-1000.0 * result.num_tokens)

    monkeypatch.setattr(evaluation, "evaluate", measure)
    place.run("train", "novels", "--output", "far", "--steps", "1", "--valid", "0", "--no-ngram", *SIZES)
    record = place.lines("far.run", "history.jsonl")[-1]
    assert (record["test_loss"], record["test_perplexity"]) == (1000.0, None)
    assert place.model("far").training_summary["test_perplexity"] is None


def test_an_lstm_is_continued_out_of_a_mixture(place: Any) -> None:
    place.run("train", "novels/2.txt", "--output", "on", "--from", "trained", "--steps", "1", "--learning-rate", "1e-9")
    before, after = (NGramLanguageModel.from_pretrained(name) for name in ("trained", "on"))
    assert after.order == 4
    assert sum(after.counts.unigrams) < sum(before.counts.unigrams)


def test_a_validation_set_that_was_trained_on_is_reported(place: Any) -> None:
    """The novels of the tests repeat themselves."""
    place.run("train", "novels", "--output", "twice", "--steps", "2", *SIZES)
    assert "of the text's passages are in the training text" in place.err


@pytest.mark.options("train", "--separator")
def test_words_that_are_given(place: Any) -> None:
    Path("given.txt").write_text("展昭  笑  道  ：  好  大雪\n" * 90, encoding="utf-8")
    sizes = ["--embedding-dim", "4", "--hidden-size", "4", "--steps", "1", "--clean", "none"]
    place.run("train", "given.txt", "--output", "g", "--tokenizer", "whitespace", "--separator", "  ", *sizes)
    vocabulary = place.model("g").vocabulary
    assert vocabulary.decode(vocabulary.encode("展昭  笑  道")) == "展昭  笑  道"
    assert "展昭" in vocabulary
    assert " " not in vocabulary
    place.run("train", "given.txt", "--from", "g", "--output", "x", "--separator", "  ", status=2)
    assert "leave out --separator" in place.err


@pytest.mark.options("train", "--text-field")
def test_records(place: Any, texts: list[str]) -> None:
    lines = (json.dumps({"title": "无", "body": text * 8}, ensure_ascii=False) for text in texts)
    Path("records").mkdir()
    Path("records/novels.jsonl").write_text("\n".join(lines), encoding="utf-8")
    Path("held.jsonl").write_text(json.dumps({"body": texts[0] * 3}), encoding="utf-8")
    held_out = ["--valid-file", "held.jsonl"]
    place.run("train", "records", "--text-field", "body", "--output", "r", "--steps", "1", *SIZES, *held_out)
    train, *_ = place.stream(normalize="auto").split(valid=0.0)
    described = place.json("r.run", "run.json")["text"]
    assert described["train"]["characters"] == train.num_characters
    held = TokenStream.from_records("held.jsonl", text_field="body", tokenizer="characters")
    assert described["valid"]["characters"] == held.num_characters
    place.run("train", "records/novels.jsonl", "--output", "x", "--steps", "1", *SIZES, status=2)
    assert "read one field of each record with --text-field NAME" in place.err


@pytest.mark.options("train", "--document-ends")
def test_document_ends(place: Any, texts: list[str]) -> None:
    Path("poems.txt").write_text("".join(text.replace("\n", "") + "\n" for text in texts) * 8, encoding="utf-8")
    command = ["train", "poems.txt", "--text-field", "line", "--steps", "1", *SIZES, "--valid", "0", "--test", "0"]
    place.run(*command, "--output", "lines", "--no-ngram")
    place.run(*command, "--output", "ends", "--no-ngram", "--document-ends")
    without, with_ends = (place.json(f"{name}.run", "run.json")["text"]["train"] for name in ("lines", "ends"))
    assert with_ends["characters"] == without["characters"] + 24


@pytest.mark.options("train", "--sample-prompt")
def test_samples(place: Any) -> None:
    samples = [record["sample"] for record in place.lines("the-run", "history.jsonl") if "sample" in record]
    assert samples
    assert all(sample.startswith("白玉堂") for sample in samples)


@pytest.mark.options("train", "--output", "--run-dir", "--cache-dir")
def test_places(place: Any) -> None:
    assert place.model("trained").num_parameters
    assert not Path("trained.run").exists()
    assert Path("the-run/best").is_dir()
    assert list(Path("a-cache").rglob("*"))


@pytest.mark.options("train", "--from")
def test_a_model_to_continue_from(place: Any) -> None:
    place.run(
        "train", "novels/2.txt", "--output", "next", "--from", "trained", "--steps", "1", "--learning-rate", "1e-9"
    )
    before, after = place.model("trained").state_dict(), place.model("next").state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert place.json("next.run", "run.json")["text"]["train"]["documents"] == 1


def test_the_text_is_read_as_the_model_to_continue_from_reads(place: Any) -> None:
    Path("wide.txt").write_text("展昭 笑 道 ＡＢＣ １２３ 。\n" * 60, encoding="utf-8")
    stream = place.stream("wide.txt", tokenizer="whitespace", normalize="none")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4))
    model.save_pretrained("wide")
    command = ["train", "wide.txt", "--from", "wide", "--output", "wider", "--no-ngram", "--valid", "0.5"]
    place.run(*command, "--steps", "1", "--learning-rate", "1e-9")
    expected = evaluate(model, stream.split(valid=0.5)[1])
    assert place.lines("wider.run", "history.jsonl")[-1]["valid_loss"] == pytest.approx(expected.loss, rel=1e-4)


@pytest.mark.options("train", "--resume")
def test_a_run_in_the_way_is_reported_before_anything_is_read(place: Any) -> None:
    command = ["train", "novels", "--output", "again", "--steps", "2", *SIZES]
    place.run(*command)
    assert place.run(*command, "--cache-dir", "unused-cache", status=2) == ""
    assert "again.run: holds a run already; continue it with --resume, or give another --run-dir" in place.err
    assert not Path("unused-cache").exists()
    place.run(*command, "--seed", "7", "--resume", status=2)
    assert "give the same again, or another --run-dir" in place.err
    place.run(*command, "--steps", "4", "--resume")
    assert max(path.name for path in Path("again.run").glob("checkpoint-*")) == "checkpoint-00000004"


@pytest.mark.options("train", "--workers")
def test_workers(place: Any) -> None:
    command = ["train", "novels", "--output", "w", "--steps", "1", "--embedding-dim", "4", "--hidden-size", "4"]
    place.run(*command, "--workers", "2", "--cache-dir", "w-cache")
    assert "in 2 processes" in place.err


@pytest.mark.options("train", "--quiet")
def test_quiet(place: Any) -> None:
    command = ["train", "novels", "--steps", "1", *SIZES]
    quiet = place.run(*command, "--output", "quiet", "--quiet", "--cache-dir", "quiet-cache") + place.err
    assert not re.search(r"epoch|reading|training:|segmenting|gram  valid|can be used already", quiet)
    assert re.search(
        r"^LSTM \+ 4-gram +weight .*\n(.+\n)*test  \d+ characters.*\nsaved in quiet\n", quiet, re.MULTILINE
    )
    loud = place.run(*command, "--output", "loud", "--cache-dir", "loud-cache")
    assert re.search(r"epoch(.|\n)*test  \d+ characters", loud)
    assert "segmenting" in place.err


def test_the_command_says_what_it_takes_before_it_starts(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = place.run("train", "novels", "--output", "p", *SIZES, "--steps", "3", "--minutes", "2").splitlines()
    assert re.fullmatch(r"reading 3 files, 0\.0 MB: about \d+ s, or at once from the cache", lines[0])
    assert re.fullmatch(
        r"training: 3 updates, or 2 minutes; --minutes covers n-grams, updates, validation and checkpoints, neither reading nor "
        r"the final test; final test: about \d+ s",
        lines[2],
    )
    rates = {True: 1.0, False: 100.0}
    monkeypatch.setattr("zh_lstm_lm.models.config.seconds_per_token", lambda *_, full, **__: rates[full])
    lines = place.run("train", "novels", "--output", "p2", *SIZES, "--epochs", "2").splitlines()
    train, valid, test = place.stream(normalize="auto").split()
    seconds = duration(2 * (len(train) + len(valid) / 3)), duration(len(test) / 3)
    assert lines[2] == "training: 2 epochs, about {}; final test: about {}".format(*seconds)
    sets, model = (train, valid, test), place.model("p2")
    assert lines[1] == (
        f"3 documents, {sum(each.num_characters for each in sets):,} characters, {sum(map(len, sets)):,} tokens, of which "
        f"{len(train):,} for training; vocabulary {len(model.vocabulary):,}; {model.num_parameters:,} weights "
        "(embedding 4, hidden 4, full softmax)"
    )
    lines = place.run("train", "novels", "--output", "p3", *SIZES).splitlines()
    assert lines[2].startswith("training: 3 epochs, about ")
    lines = place.run("train", "novels", "--output", "p4", *SIZES, "--epochs", "1", "--valid", "0").splitlines()
    assert lines[2].startswith("training: 1 epoch, about ")
    train, _, test = place.stream(normalize="auto").split(valid=0.0)
    assert f"{len(train) + len(test):,} tokens, of which {len(train):,} for training" in lines[1]
