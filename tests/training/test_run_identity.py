from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import CheckpointError, TokenStream, TrainerConfig, Vocabulary
from zh_lstm_lm.training.run_identity import IDENTITY, check_same_run, describe_texts, digest_of


def test_the_sum_of_the_held_out_text_does_not_depend_on_how_it_is_cut(texts: list[str]) -> None:
    described = []
    for tokenizer, kept in (("characters", texts), ("jieba", texts), ("jieba", texts[:2])):
        stream = TokenStream.from_texts(kept, tokenizer=tokenizer)
        described.append(describe_texts(Vocabulary.from_stream(stream), stream, stream))
    characters, jieba, shorter = described
    assert characters["tokenizer"] != jieba["tokenizer"]
    assert characters["train"]["tokens"] > jieba["train"]["tokens"]
    assert characters["train"]["characters"] == jieba["train"]["characters"] == sum(map(len, texts))
    assert characters["valid"]["sha256"] == jieba["valid"]["sha256"] != shorter["valid"]["sha256"]


def test_without_held_out_text_there_is_none(stream: TokenStream, vocabulary: Vocabulary) -> None:
    assert "valid" not in describe_texts(vocabulary, stream, None)
    assert describe_texts(vocabulary, stream, None)["vocab_size"] == len(vocabulary)


def test_processes_may_differ_in_device_and_folder_and_in_nothing_else() -> None:
    described: dict[str, Any] = {
        "options": {"seed": 0, "run_dir": "a", "device": "cpu"},
        "train": "x",
        "environment": {},
    }
    options = described["options"]
    same = {**described, "options": {**options, "run_dir": None, "device": "cuda"}, "environment": {"threads": 2}}
    assert digest_of(same) == digest_of(described)
    assert digest_of({**described, "train": "y"}) != digest_of(described)
    assert digest_of({**described, "options": {**options, "seed": 1}}) != digest_of(described)


def test_a_description_that_is_none_is_refused(tmp_path: Path) -> None:
    described: dict[str, Any] = {"options": {}, "environment": {"threads": 1}, **dict.fromkeys(IDENTITY)}
    for begun in ({}, {"options": None}, {**described, "environment": None}, {**described, "options": []}):
        with pytest.raises(CheckpointError, match=r"run\.json: not a description of a run"):
            check_same_run(begun, described, folder=tmp_path)


@pytest.mark.parametrize("option", [{"seed": 1}, {"batch_size": 8}, {"bptt_len": 9}, {"max_grad_norm": 0.1}])
def test_another_option_is_told_in_plain_words(tmp_path: Path, option: dict[str, Any]) -> None:
    options = TrainerConfig().to_dict()
    described = {"environment": {}, **dict.fromkeys(IDENTITY[2:]), "model": {}, "options": options}
    (name, value), *_ = option.items()

    with pytest.raises(CheckpointError) as caught:
        check_same_run({**described, "options": {**options, **option}}, described, folder=tmp_path)

    now = options[name]
    assert str(caught.value) == (
        f"{tmp_path}: its run was begun with {name}={value!r}, got {now!r}; give the same again, or another run_dir"
    )
