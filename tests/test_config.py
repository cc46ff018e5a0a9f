"""The three config classes: what they refuse and how they say it, and JSON both ways."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import ConfigError, ModelConfig, SamplerConfig, TrainerConfig
from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type, nearest_name

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)
CLASSES: list[type[Config]] = [ModelConfig, TrainerConfig, SamplerConfig]
every_class = pytest.mark.parametrize("config_class", CLASSES)

SEEDS = st.integers(0, 2**63 - 1)
OPTIONS: dict[type[Config], st.SearchStrategy[dict[str, Any]]] = {
    ModelConfig: st.fixed_dictionaries(
        {},
        optional={
            "embedding_dim": st.integers(1, 5000),
            "hidden_size": st.integers(1, 5000),
            "num_layers": st.integers(1, 8),
            "dropout": st.floats(0, 0.99) | st.just(0),
            "output": st.sampled_from(["auto", "full", "adaptive"]),
            "cutoffs": st.none() | st.sets(st.integers(1, 10**6), min_size=1).map(lambda s: tuple(sorted(s))),
            "div_value": st.floats(1, 100) | st.integers(1, 100),
            "seed": SEEDS,
        },
    ),
    TrainerConfig: st.fixed_dictionaries(
        {},
        optional={
            "max_epochs": st.none() | st.integers(1, 10**6),
            "max_steps": st.none() | st.integers(1, 10**9),
            "max_minutes": st.none() | st.floats(0, 1e6, exclude_min=True),
            "batch_size": st.none() | st.integers(1, 4096),
            "bptt_len": st.integers(1, 4096),
            "learning_rate": st.none() | st.floats(0, 10, exclude_min=True),
            "schedule": st.sampled_from(["linear", "cosine", "constant"]),
            "warmup_steps": st.integers(0, 10**6),
            "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
            "weight_decay": st.floats(0, 100),
            "max_grad_norm": st.floats(0, 1e6, exclude_min=True),
            "patience": st.none() | st.integers(1, 100),
            "seed": SEEDS,
            "run_dir": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            "checkpoint_minutes": st.floats(0, 1e6, exclude_min=True),
            "keep_last": st.integers(1, 100),
            "device": st.sampled_from(["auto", "cpu", "cuda:1"]),
        },
    ),
    SamplerConfig: st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 100),
            "top_k": st.integers(0, 10**6),
            "top_p": st.floats(0, 1, exclude_min=True),
            "seed": SEEDS,
        },
    ),
}


def refused(config_class: type[Config], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config_class(**options)
    return str(caught.value)


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config_class", "names"),
    [
        (
            ModelConfig,
            {"embedding_dim", "hidden_size", "num_layers", "dropout", "tie_weights", "output", "cutoffs", "seed"},
        ),
        (
            TrainerConfig,
            {"max_epochs", "max_steps", "max_minutes", "batch_size", "bptt_len", "learning_rate", "max_grad_norm"}
            | {"seed", "run_dir", "device"},
        ),
        (SamplerConfig, {"temperature", "top_k", "top_p", "seed"}),
    ],
)
def test_every_promised_option_is_there_and_has_a_default(config_class: type[Config], names: set[str]) -> None:
    assert names <= set(config_class.option_names())
    assert set(config_class().to_dict()) == set(config_class.option_names())


@pytest.mark.parametrize(
    ("config_class", "wrong", "right"),
    [
        (ModelConfig, "hiden_size", "hidden_size"),
        (ModelConfig, "embeding_dim", "embedding_dim"),
        (ModelConfig, "layers", "num_layers"),
        (TrainerConfig, "max_epoch", "max_epochs"),
        (TrainerConfig, "batchsize", "batch_size"),
        (TrainerConfig, "learning_rat", "learning_rate"),
        (SamplerConfig, "temprature", "temperature"),
        (SamplerConfig, "topk", "top_k"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_name(
    config_class: type[Config], wrong: str, right: str
) -> None:
    for message in (refused(config_class, **{wrong: 1}), refused_dict(config_class, {wrong: 1})):
        assert repr(wrong) in message
        assert f"did you mean {right!r}?" in message
        assert config_class.__name__ in message


def refused_dict(config_class: type[Config], options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config_class.from_dict(options)
    return str(caught.value)


@every_class
def test_a_name_like_none_is_answered_with_all_of_them(config_class: type[Config]) -> None:
    message = refused(config_class, zzzzzz=1)
    assert "did you mean" not in message
    assert all(name in message for name in config_class.option_names())


@every_class
def test_options_are_given_by_name(config_class: type[Config]) -> None:
    with pytest.raises(ConfigError, match="by name"):
        config_class(3)


def test_nearest_name_finds_a_typo_and_nothing_else() -> None:
    assert nearest_name("jeiba", ["jieba", "characters"]) == "; did you mean 'jieba'?"
    assert nearest_name("spacy", ["jieba", "characters"]) == ""
    assert nearest_name("x", []) == ""


# --- values -------------------------------------------------------------------------------------------------------

INTEGERS = {
    ModelConfig: ["embedding_dim", "hidden_size", "num_layers", "seed"],
    TrainerConfig: [
        "max_epochs",
        "max_steps",
        "batch_size",
        "bptt_len",
        "warmup_steps",
        "patience",
        "seed",
        "keep_last",
    ],
    SamplerConfig: ["top_k", "seed"],
}
NUMBERS = {
    ModelConfig: ["dropout", "div_value"],
    TrainerConfig: ["max_minutes", "learning_rate", "max_grad_norm", "checkpoint_minutes"],
    SamplerConfig: ["temperature", "top_p"],
}
OPTIONAL = {"max_epochs", "max_steps", "max_minutes", "batch_size", "learning_rate", "patience", "cutoffs", "run_dir"}
WRONG_TYPES: list[Any] = ["5", True, False, [], [1], {}, 1j, b"1", object]
HUGE = 10**400  # a number that no float holds


@pytest.mark.parametrize(
    ("config_class", "name"), [(config_class, name) for config_class in CLASSES for name in INTEGERS[config_class]]
)
def test_an_integer_option_takes_integers_only(config_class: type[Config], name: str) -> None:
    for value in [*WRONG_TYPES, 1.5, 2.0, *([] if name in OPTIONAL else [None])]:
        message = refused(config_class, **{name: value})
        assert name in message
        assert repr(value) in message
    assert name in refused(config_class, **{name: -1})
    if name in OPTIONAL:
        assert getattr(config_class(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("config_class", "name"), [(config_class, name) for config_class in CLASSES for name in NUMBERS[config_class]]
)
def test_a_number_option_takes_finite_numbers_only(config_class: type[Config], name: str) -> None:
    infinities = [float("inf"), float("-inf"), float("nan")]
    for value in [*WRONG_TYPES, *infinities, -0.5, *([] if name in OPTIONAL else [None])]:
        message = refused(config_class, **{name: value})
        assert name in message
        assert repr(value) in message


@pytest.mark.parametrize(
    ("config_class", "name"), [(config_class, name) for config_class in CLASSES for name in NUMBERS[config_class]]
)
def test_a_number_beyond_all_floats_is_refused(config_class: type[Config], name: str) -> None:
    assert name in refused(config_class, **{name: HUGE})
    assert name in refused(config_class, **{name: -HUGE})


@pytest.mark.parametrize(
    ("config_class", "options"),
    [
        (ModelConfig, {"hidden_size": 0}),
        (ModelConfig, {"embedding_dim": 1 << 30}),
        (ModelConfig, {"num_layers": 0}),
        (ModelConfig, {"dropout": 1.0}),
        (ModelConfig, {"div_value": 0.5}),
        (ModelConfig, {"output": "softmax"}),
        (ModelConfig, {"output": None}),
        (ModelConfig, {"output": []}),
        (ModelConfig, {"tie_weights": 1}),
        (ModelConfig, {"tie_weights": "no"}),
        (ModelConfig, {"cutoffs": ()}),
        (ModelConfig, {"cutoffs": 100}),
        (ModelConfig, {"cutoffs": "100"}),
        (ModelConfig, {"cutoffs": (0, 10)}),
        (ModelConfig, {"cutoffs": (10, 10)}),
        (ModelConfig, {"cutoffs": (20, 10)}),
        (ModelConfig, {"cutoffs": (10.0, 20.0)}),
        (ModelConfig, {"seed": 2**63}),
        (TrainerConfig, {"max_epochs": 0}),
        (TrainerConfig, {"max_minutes": 0}),
        (TrainerConfig, {"bptt_len": 0}),
        (TrainerConfig, {"learning_rate": 0.0}),
        (TrainerConfig, {"schedule": "step"}),
        (TrainerConfig, {"betas": 0.9}),
        (TrainerConfig, {"betas": (0.9,)}),
        (TrainerConfig, {"betas": (0.9, 1.0)}),
        (TrainerConfig, {"betas": ("0.9", 0.9)}),
        (TrainerConfig, {"weight_decay": -0.1}),
        (TrainerConfig, {"weight_decay": None}),
        (TrainerConfig, {"max_grad_norm": 0}),
        (TrainerConfig, {"keep_last": 0}),
        (TrainerConfig, {"run_dir": 3}),
        (TrainerConfig, {"device": None}),
        (TrainerConfig, {"seed": 2**63}),
        (SamplerConfig, {"top_p": 0}),
        (SamplerConfig, {"top_p": 1.01}),
        (SamplerConfig, {"seed": 2**63}),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_by_name(config_class: type[Config], options: dict[str, Any]) -> None:
    message = refused(config_class, **options)
    ((name, value),) = options.items()
    assert name.rstrip("s") in message
    assert repr(value) in message or any(repr(one) in message for one in value)


@pytest.mark.parametrize(
    ("config_class", "options"),
    [
        (ModelConfig, {"hidden_size": 1, "embedding_dim": 1, "dropout": 0, "div_value": 1, "seed": 2**63 - 1}),
        (ModelConfig, {"cutoffs": [1]}),
        (TrainerConfig, {"max_epochs": 1, "warmup_steps": 0, "betas": [0, 0], "weight_decay": 0, "max_minutes": 1e-9}),
        (SamplerConfig, {"temperature": 0, "top_k": 0, "top_p": 1, "seed": 0}),
    ],
)
def test_the_ends_of_a_range_belong_to_it(config_class: type[Config], options: dict[str, Any]) -> None:
    config = config_class(**options)
    for name, value in options.items():
        assert getattr(config, name) == (tuple(value) if isinstance(value, list) else value)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers() | st.floats() | st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@every_class
@quick
@given(data=st.data())
def test_any_value_makes_a_config_or_a_config_error(config_class: type[Config], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(config_class.option_names()))
    value = data.draw(ANYTHING)
    try:
        config = config_class(**{name: value})
    except ConfigError:
        return
    stored = getattr(config, name)
    value = value.items() if isinstance(value, dict) else value  # a fixed config keeps pairs
    if isinstance(stored, float) and isinstance(value, int):
        # An integer beyond 64 bits becomes the nearest float.
        value = float(value)
    assert stored == (value if isinstance(value, (str, int, float, type(None))) else tuple(value))


def test_checks_name_the_range() -> None:
    with pytest.raises(ConfigError, match=r"^k must be from 1 to 3, got 4$"):
        check_integer("k", 4, minimum=1, maximum=3)
    with pytest.raises(ConfigError, match=r"^k must be at least 1, got 0$"):
        check_integer("k", 0, minimum=1)
    with pytest.raises(ConfigError, match=r"^p must be between 0 and 1, got 1$"):
        check_number("p", 1, maximum=1.0, exclusive=True)
    with pytest.raises(ConfigError, match=r"^p must be from 0 to 1, got 2$"):
        check_number("p", 2, maximum=1.0)
    with pytest.raises(ConfigError, match=r"^p must be an integer or None, got '1'$"):
        check_integer("p", "1", minimum=0, optional=True)
    with pytest.raises(ConfigError, match=r"'tail', 'document', got 'tails'; did you mean 'tail'\?$"):
        check_choice("by", "tails", ("tail", "document"))
    with pytest.raises(ConfigError, match=r"^model must be a str or None, got 3$"):
        check_type("model", 3, str, type(None))
    check_type("model", None, str, type(None))
    check_integer("k", None, minimum=1, optional=True)
    check_number("p", None, optional=True)


# --- JSON and copies ----------------------------------------------------------------------------------------------


@every_class
@quick
@given(data=st.data())
def test_a_config_comes_back_from_json(config_class: type[Config], data: st.DataObject) -> None:
    options = data.draw(OPTIONS[config_class])
    config = config_class(**options)
    for name, value in options.items():
        assert getattr(config, name) == value
    saved = json.loads(json.dumps(config.to_dict(), allow_nan=False))
    assert config_class.from_dict(saved) == config
    assert copy.deepcopy(config) == config
    assert hash(copy.copy(config)) == hash(config)


def test_a_run_dir_that_is_a_path_is_plain_in_json(tmp_path: Path) -> None:
    saved = json.loads(json.dumps(TrainerConfig(run_dir=tmp_path / "运行").to_dict()))
    assert Path(saved["run_dir"]) == tmp_path / "运行"
    assert TrainerConfig.from_dict(saved).to_dict() == saved


@every_class
@pytest.mark.parametrize("options", [None, "hidden_size", 3, [("seed", 1)]])
def test_from_dict_takes_a_mapping(config_class: type[Config], options: object) -> None:
    assert "mapping" in refused_dict(config_class, options)


@every_class
def test_a_config_does_not_change(config_class: type[Config]) -> None:
    config = config_class(seed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2  # type: ignore[attr-defined]
    assert isinstance(config, (ModelConfig, TrainerConfig, SamplerConfig))
    assert dataclasses.replace(config, seed=2) == config_class(seed=2) != config
    with pytest.raises(ConfigError, match="seed"):
        dataclasses.replace(config, seed=-1)
