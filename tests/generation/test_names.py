"""The writer's own names in the place of the corpus': in what is written, in the prompt, and in reports."""

from collections import Counter

import pytest
import torch

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, TokenStream, Vocabulary
from zh_lstm_lm.tokenizers.registry import get_tokenizer

TEXT = "展昭道：白天好。白玉堂笑道：展昭，白色的玉堂好。白说：展护卫来，昭雪。\n"
NAMES = {"展昭": "李寻欢", "白玉堂": "叶孤城", "白": "丁"}
NUMBER = 1000


@pytest.fixture(scope="module")
def model() -> LSTMLanguageModel:
    """A model of words, and of their characters, that knows nothing."""
    tokenizer = get_tokenizer("jieba", user_dictionary=["展昭", "白玉堂"])
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts([TEXT], tokenizer=tokenizer))
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4)).eval()


def sampler_of(model: LSTMLanguageModel, **options: object) -> Sampler:
    return Sampler(model, SamplerConfig(temperature=1.0, top_p=1.0, **options))  # type: ignore[arg-type]


def test_names_of_the_corpus_are_written_as_the_writer_s_own_and_none_is_left(model: LSTMLanguageModel) -> None:
    torch.set_num_threads(1)
    before = sampler_of(model).generate([""], num_samples=NUMBER, max_new_tokens=12, return_results=True)
    after = sampler_of(model, rename=NAMES).generate([""], num_samples=NUMBER, max_new_tokens=12, return_results=True)
    assert sum("展昭" in result.text for result in before) > NUMBER / 10
    seen: Counter[str] = Counter()
    for result in after:
        assert result.unmet == ()
        # Words alone are replaced: those that begin with a name stay.
        for token in result.tokens:
            assert token not in NAMES
            seen[token] += 1
        assert "展昭" not in result.text
        assert "白玉堂" not in result.text
    assert min(seen[name] for name in [*NAMES.values(), "白天", "白色"]) > 50


def test_other_words_stay_as_they_are(model: LSTMLanguageModel) -> None:
    plain = sampler_of(model, banned_words=["展昭"]).generate([""], num_samples=50, max_new_tokens=12)
    renamed = sampler_of(model, rename={"不在": "其中"}, banned_words=["展昭"]).generate(
        [""], num_samples=50, max_new_tokens=12
    )
    assert plain == renamed


def test_names_in_the_prompt_are_read_as_those_of_the_corpus(model: LSTMLanguageModel) -> None:
    own = sampler_of(model, rename={"展昭": "李寻欢"})
    read = model.vocabulary.encode
    assert read(own.names.read("李寻欢道：好。")) == read("展昭道：好。")
    assert own.names.read("桃李寻欢乐") in ("桃李寻欢乐", "桃展昭乐")
    one = sampler_of(model, rename={"白": "天"})
    assert one.names.read("白天好") == "白天好"
    result = own.generate("李寻欢", max_new_tokens=5, return_results=True)
    assert result.text.startswith("李寻欢")
    known = sampler_of(model).generate("展昭", max_new_tokens=0, return_results=True).state
    assert result.state.ids[: len(known.ids)] == known.ids


def test_a_name_of_the_corpus_in_the_prompt_is_reported(model: LSTMLanguageModel) -> None:
    sampler = sampler_of(model, rename=NAMES)
    result = sampler.generate("展昭，展昭，白天，", max_new_tokens=3, return_results=True)
    assert result.unmet == ("rename: 展昭",)
    assert sampler.names.left("展昭道：白天，白玉堂、展昭") == {"展昭": 2, "白玉堂": 1}
    assert sampler.names.left("白天", ["展", "昭", "白天", "白"]) == {"展昭": 1, "白": 1}


def test_names_may_be_exchanged(model: LSTMLanguageModel) -> None:
    texts = sampler_of(model).generate([""], num_samples=50, max_new_tokens=12, return_results=True)
    swapped = sampler_of(model, rename={"展昭": "白玉堂", "白玉堂": "展昭"}).generate(
        [""], num_samples=50, max_new_tokens=12, return_results=True
    )
    change = {"展昭": "白玉堂", "白玉堂": "展昭"}
    assert [[change.get(token, token) for token in result.tokens] for result in texts] == [
        list(result.tokens) for result in swapped
    ]


def test_a_name_that_is_no_word_is_kept_out(model: LSTMLanguageModel, caplog: pytest.LogCaptureFixture) -> None:
    assert "堂笑" not in model.vocabulary
    sampler = sampler_of(model, rename={"堂笑": "某"}, word_bias={"堂": 4.0, "笑": 4.0})
    assert "only kept out of the text: 堂笑" in caplog.text
    assert not any("堂笑" in text for text in sampler.generate([""], num_samples=50, max_new_tokens=12))


def test_limits_and_forms_count_the_names_that_are_written(model: LSTMLanguageModel) -> None:
    sampler = sampler_of(model, rename=NAMES, word_bias={"展昭": 2.0})
    for result in sampler.generate(
        [""], num_samples=100, return_results=True, max_characters=12, must_contain=["李寻欢"], stop="叶孤城"
    ):
        assert "李寻欢" in result.text
        assert len(result.text) == 12 or result.text.endswith("叶孤城")
    text = sampler.generate(first_characters="李", line_lengths=5)
    assert text.startswith("李寻欢")


def test_options_with_names_come_back(model: LSTMLanguageModel) -> None:
    config = SamplerConfig(rename=NAMES)
    assert SamplerConfig.from_dict(config.to_dict()) == config
    spaced = Vocabulary.from_stream(TokenStream.from_texts(["Tom met Ann . Tom left ."], tokenizer="whitespace"))
    lm = LSTMLanguageModel(spaced, ModelConfig(embedding_dim=4, hidden_size=4))
    texts = sampler_of(lm, rename={"Tom": "Sam"}).generate([""], num_samples=20, max_new_tokens=8)
    assert any("Sam" in text.split(" ") for text in texts)
    assert not any("Tom" in text for text in texts)


@pytest.mark.parametrize(
    "names",
    ["展昭", ["展昭"], {"展昭": ""}, {"": "李"}, {"展昭": "李\n"}, {"展昭": 5}, [("展", "李"), ("展", "丁")], 7],
)
def test_names_of_a_wrong_form_are_refused(names: object) -> None:
    with pytest.raises(ConfigError, match="rename must map"):
        SamplerConfig(rename=names)  # type: ignore[arg-type]
