"""The harness's own evaluator with this model, against sums computed by hand."""

import json
import math
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from zh_lstm_lm import ConfigError, LanguageModel, LSTMLanguageModel, Sampler, SamplerConfig, score
from zh_lstm_lm.integrations.lm_eval import HarnessModel


class Request(NamedTuple):
    args: tuple[Any, ...]


def by_hand(model: LSTMLanguageModel, text: str) -> tuple[list[float], list[bool]]:
    """The log-probability of each token of a text, read in one go, and whether it is the likeliest."""
    ids = model.vocabulary.encode(text)
    with torch.no_grad():
        logits, _ = model(torch.tensor([[0, *ids[:-1]]]))
    log_probs = logits[0].double().log_softmax(dim=-1)
    return [float(row[i]) for row, i in zip(log_probs, ids, strict=True)], [
        int(row.argmax()) == i for row, i in zip(log_probs, ids, strict=True)
    ]


def test_a_continuation_has_the_sum_of_its_tokens(trained: LSTMLanguageModel) -> None:
    pairs = [
        ("白玉堂笑道：", "“雪大，酒才好喝。”"),
        ("", "展昭道"),
        ("夜里三更，", ""),
        ("", ""),
        ("展昭道：", "“a𠮷\n"),
    ]
    found = HarnessModel(trained, batch_size=2).loglikelihood([Request(pair) for pair in pairs])
    for (context, continuation), (log_prob, greedy) in zip(pairs, found, strict=True):
        values, likeliest = by_hand(trained, context + continuation) if context + continuation else ([], [])
        start = len(trained.vocabulary.encode(context))
        assert log_prob == pytest.approx(sum(values[start:]), abs=1e-4)
        assert greedy == all(likeliest[start:])


def test_a_greedy_continuation_is_known_as_one(trained: LSTMLanguageModel) -> None:
    sampler = Sampler(trained, SamplerConfig(temperature=0, balanced_pairs=False, tidy_paragraphs=False))
    written = sampler.generate("展昭道：", max_new_tokens=4, return_results=True)
    continuation = "".join(written.tokens)
    ((log_prob, greedy),) = HarnessModel(trained).loglikelihood([Request(("展昭道：", continuation))])
    assert greedy
    assert log_prob == pytest.approx(written.log_prob, abs=1e-4)
    assert not HarnessModel(trained).loglikelihood([Request(("展昭道：", "雪雪雪"))])[0][1]


def test_a_word_across_the_border_counts_as_the_difference_of_two_texts(trained: LSTMLanguageModel) -> None:
    context, continuation = "二人推门进了酒", "店，店小二忙迎上来。"
    whole = trained.vocabulary.encode(context + continuation)
    assert whole[: len(trained.vocabulary.encode(context))] != trained.vocabulary.encode(context)
    ((log_prob, _),) = HarnessModel(trained).loglikelihood([Request((context, continuation))])
    expected = score(trained, context + continuation).log_prob - score(trained, context).log_prob
    assert log_prob == pytest.approx(expected, abs=1e-4)


def test_a_whole_text_is_scored_from_its_start(trained: LSTMLanguageModel, texts: list[str]) -> None:
    long = "".join(texts) * 5
    found = HarnessModel(trained).loglikelihood_rolling([Request((long,)), Request(("",)), Request(("展昭",))])
    assert found == pytest.approx([score(trained, long).log_prob, 0.0, score(trained, "展昭").log_prob], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pretrained=FOLDER"),
        ({"pretrained": 1, "peft": "x"}, "'peft'"),
        ({"pretrained": object()}, "LanguageModel"),
        ({"pretrained": "x", "batch_size": "many"}, "batch_size must be an integer"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HarnessModel(**arguments)


# --- with the harness itself ----------------------------------------------------------------------------------------

TASKS = {
    "zh_choice": """
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_target: 0
doc_to_choice: "{{choices}}"
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "zh_write": """
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{target}}"
target_delimiter: ""
generation_kwargs: {until: ["。"], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
""",
    "zh_perplexity": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{target}}"
metric_list: [{metric: byte_perplexity}]
""",
}
DOCS: list[dict[str, Any]] = [
    {"context": "白玉堂笑道：“雪大，", "choices": ["酒才好喝。", "剑出了店门。"], "target": "酒才好喝"},
    {"context": "展昭道：", "choices": ["“得罪了。”", "酒店，店小二"], "target": "“得罪了"},
    {"context": "夜里三更，", "choices": ["三更展昭换", "展昭换了夜行衣"], "target": "展昭"},
]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three tasks and their items."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "docs.jsonl"
    data.write_text("".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in DOCS), encoding="utf-8")
    for name, task in TASKS.items():
        text = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(text + task, encoding="utf-8")
    return folder


def test_the_entry_point_is_a_model_class_of_the_harness() -> None:
    model = pytest.importorskip("lm_eval.api.model", reason="lm_eval is not installed (extra 'eval')")
    found = [point for point in entry_points(group="lm_eval.models") if point.name == "zh-lstm-lm"]
    if not found:
        pytest.skip("the library is not installed, or was before it had this entry point")
    assert issubclass(found[0].load(), model.LM)
    assert issubclass(found[0].load(), HarnessModel)


def test_the_command_of_the_harness_runs(trained: LSTMLanguageModel, tasks: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra 'eval')")
    pytest.importorskip("datasets", reason="datasets is not installed (extra 'eval')")
    trained.save_pretrained(tmp_path / "model")
    options = ["--model_args", f"pretrained={tmp_path / 'model'}", "--tasks", ",".join(TASKS)]
    options += ["--include_path", str(tasks), "--output_path", str(tmp_path / "out"), "--log_samples"]
    done = subprocess.run(
        [sys.executable, "-m", "zh_lstm_lm.integrations.lm_eval", "--model", "zh-lstm-lm", *options],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    right = 0
    for doc in DOCS:
        start = len(trained.vocabulary.encode(doc["context"]))
        sums = [math.fsum(by_hand(trained, doc["context"] + choice)[0][start:]) for choice in doc["choices"]]
        right += sums[0] > sums[1]
    assert results["zh_choice"]["acc,none"] == pytest.approx(right / len(DOCS))
    total = math.fsum(score(trained, doc["target"]).log_prob for doc in DOCS)
    size = sum(len(doc["target"].encode()) for doc in DOCS)
    assert results["zh_perplexity"]["byte_perplexity,none"] == pytest.approx(math.exp(-total / size), rel=1e-4)
    (path,) = (tmp_path / "out").rglob("samples_zh_write_*.jsonl")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    sampler = Sampler(trained, SamplerConfig(temperature=0, balanced_pairs=False, tidy_paragraphs=False))
    for sample in samples:
        context = sample["doc"]["context"]
        written = sampler.generate(context, max_new_tokens=12).removeprefix(context).partition("。")[0]
        assert sample["resps"] == [[written]]


def test_sampled_texts_of_equal_requests_differ(trained: LanguageModel) -> None:
    pytest.importorskip("lm_eval", reason="lm_eval is not installed (extra 'eval')")
    options = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 12, "until": ["\n\n"]}
    requests = [Request(("展昭", options)), Request(("白玉堂", options)), Request(("展昭", options))]
    first, other, second = HarnessModel(trained).generate_until(requests)
    assert len({first, other, second}) == 3
    assert HarnessModel(trained).generate_until(requests) == [first, other, second]
    with pytest.raises(ConfigError, match="num_beams"):
        HarnessModel(trained).generate_until([Request(("展昭", {"num_beams": 4}))])
