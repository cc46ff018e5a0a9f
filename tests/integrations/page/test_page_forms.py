"""Forms in the page: its texts beside those of the same model in Python, for the same random numbers."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import zh_lstm_lm.integrations.page
from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, Vocabulary
from zh_lstm_lm.generation.limits import Limits
from zh_lstm_lm.integrations.page.export import make_page

SOURCES = Path(zh_lstm_lm.integrations.page.__file__).parent
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.usefixtures("one_thread"),
]

WORDS = [
    *("，", "。", "！", "？", "“", "”", "（", "）", "：", "、", "……", "！？", "『", "』"),
    *("好", "风", "雪", "春", "夏", "秋", "冬", "山", "水", "月", "白", "玉", "堂", "展", "昭", "宝", "剑", "𠮷"),
    *("展昭", "春风", "秋水", "夏日炎", "冬雪", "你来我往", "白玉", "𠮷风"),
]
NUMBER = 25
FORMS: list[dict[str, Any]] = [
    {"line_lengths": [5, 7, 5, 7]},
    {"line_lengths": [1, 2]},
    {"line_lengths": 7, "first_characters": "春夏秋𠮷"},
    {"line_lengths": 5, "max_characters": 30},
    {"line_lengths": 5, "max_new_tokens": 20},
    {"line_lengths": 5, "stop": ["月", "风雪"], "max_new_tokens": 40},
    {"line_lengths": [5, 3, 4], "must_contain": ["展昭", "白堂剑", "宝剑", "春风", "雪山"]},
    {"line_lengths": 3, "first_characters": "春白夏", "must_contain": ["春风", "白堂剑", "剑山"]},
    {"line_lengths": 5, "max_characters": 14, "must_contain": ["展昭", "你来我往"]},
    {"line_lengths": [5, 5], "rename": {"展昭": "李寻欢"}, "must_contain": ["李寻欢"]},
    {"first_characters": "春夏秋冬", "max_characters": 24},
    {"first_characters": "春夏秋冬", "max_characters": 120},
    {"first_characters": "春夏", "max_new_tokens": 16},
    {"first_characters": "春夏", "max_characters": 24, "must_contain": {"展昭": 20, "白堂剑": 24}},
    {"must_contain": ["展昭", "宝剑", "白堂剑"], "max_characters": 14},
    {"must_contain": {"白堂剑": 20, "展昭": 6, "春风": 8}, "max_new_tokens": 15},
    {"must_contain": ["展昭", "剑"], "stop": ["。", "玉雪"], "max_new_tokens": 120},
    {"must_contain": ["展昭"], "stop": ["document"], "max_new_tokens": 120},
    {"line_lengths": 4, "stop": ["document", "水"], "max_new_tokens": 60},
    {"stop": ["document"], "max_characters": 60},
    {"rename": {"展昭": "李寻欢", "白玉": "叶", "山水": "江"}, "max_characters": 40, "stop": "欢"},
    {"rename": {"展昭": "白玉", "白玉": "展昭"}, "first_characters": "展", "max_characters": 30},
]


def in_page(page: Path, tmp_path: Path, prompt: str, ids: list[int], settings: list[dict[str, Any]]) -> list[Any]:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"prompt": prompt, "ids": ids, "settings": settings, "texts": [], "seeds": []}))
    command = [str(NODE), str(Path(__file__).with_name("run_page.mjs")), str(SOURCES), str(page), str(file)]
    written: list[Any] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)[
        "written"
    ]
    return written


def limits_in_page(prompt: str, limits: dict[str, Any]) -> dict[str, Any]:
    """The limits of a text as the page has them."""
    checked = Limits(**limits)
    stop: Any = checked.stop
    found = {
        "lengths": checked.line_lengths,
        "first": checked.first_characters or "",
        "words": list(checked.required),
        "maxTokens": min(checked.num_tokens, 1 << 52),
        "stop": [string for string in stop if string != "document"],
        "document": "document" in stop,
    }
    return found | ({"maxCharacters": checked.room_after(prompt)} if checked.max_characters is not None else {})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LSTMLanguageModel]:
    """A page of words of one to four characters, among them marks, and the model in it."""
    vocabulary = Vocabulary([*WORDS, *range(256)], tokenizer="characters")
    config = ModelConfig(embedding_dim=4, hidden_size=4, output="adaptive", cutoffs=(12, 30))
    made = make_page(LSTMLanguageModel(vocabulary, config).eval(), title="page")
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_bytes(made.html)
    model = made.model
    assert isinstance(model, LSTMLanguageModel)
    return file, model.double()


@pytest.mark.parametrize("prompt", ["", "好风，雪。“好！”\n"])
def test_the_page_writes_forms_as_python_does(
    page: tuple[Path, LSTMLanguageModel], prompt: str, tmp_path: Path
) -> None:
    file, model = page
    settings: list[dict[str, Any]] = []
    expected: list[dict[str, Any]] = []
    for number, form in enumerate(FORMS):
        limits = {name: value for name, value in form.items() if name != "rename"}
        if "max_characters" in limits:
            limits["max_characters"] += len(prompt)
        options = [(1.0, 1.0), (0.7, 0.9)][number % 2]
        config = SamplerConfig(temperature=options[0], top_p=options[1], seed=number, rename=form.get("rename", ()))
        sampler = Sampler(model, config)
        for sample in range(NUMBER):
            (result,) = sampler.generate(prompt, num_samples=1, first_sample=sample, return_results=True, **limits)
            generator = random.Random(f"{number} {sample}")
            settings.append(
                {
                    "options": {"temperature": options[0], "topP": options[1]},
                    "limits": limits_in_page(prompt, limits),
                    "names": list(form.get("rename", {}).items()),
                    "uniforms": [generator.random() for _ in range(len(result.ids) + 20)],
                }
            )
            expected.append({"ids": list(result.ids), "text": "".join(result.tokens), "unmet": len(result.unmet)})
    found = in_page(file, tmp_path, prompt, model.vocabulary.encode(prompt), settings)
    for index, (each, own) in enumerate(zip(found, expected, strict=True)):
        assert "refused" not in each, (FORMS[index // NUMBER], each)
        assert {**each, "unmet": len(each["unmet"])} == own, FORMS[index // NUMBER]


@pytest.mark.parametrize("prompt", ["", "好风"])
def test_the_page_refuses_what_python_refuses(
    page: tuple[Path, LSTMLanguageModel], prompt: str, tmp_path: Path
) -> None:
    file, model = page
    forms: list[dict[str, Any]] = [
        {"first_characters": "春龘", "max_characters": 40},
        {"first_characters": "好春", "max_characters": 40},
        {"first_characters": "春夏", "max_characters": 5},
        {"line_lengths": [5, 5], "max_characters": 11},
        {"line_lengths": [1, 1]},
        {"line_lengths": 5, "max_new_tokens": 5},
        {"must_contain": ["龘"], "max_characters": 20},
        {"must_contain": ["展昭", "宝剑"], "max_characters": 5},
        {"must_contain": {"展昭": 3, "宝剑": 3}},
        {"must_contain": ["你来我往"], "line_lengths": [3, 3]},
        {"must_contain": ["展昭"], "line_lengths": [3, 3]},
    ]
    settings, refused = [], []
    for form in forms:
        try:
            limits_in_page(prompt, form)
            Sampler(model, SamplerConfig()).generate(prompt, **form)
            refused.append(False)
        except ConfigError:
            refused.append(True)
        settings.append(
            {"options": {"temperature": 1, "topP": 1}, "limits": limits_in_page(prompt, form), "uniforms": [0.5] * 200}
        )
    found = in_page(file, tmp_path, prompt, model.vocabulary.encode(prompt), settings)
    assert ["refused" in each for each in found] == refused
    assert any(refused)
    assert not all(refused)
