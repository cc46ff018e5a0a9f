"""Fixtures: a cache of the test run's own, tiny texts and models, and the real corpora where they lie beside the project."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary
from zh_lstm_lm.models.decoding import DecodingLSTM
from zh_lstm_lm.runtime.batch_invariant import BatchInvariantLinear

TEXTS = [
    "第一回　风雪\n展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n二人推门进了酒店，店小二忙迎上来。\n",
    "第二回　夜行\n夜里三更，展昭换了夜行衣，出了店门。\n只见房上一条黑影，如飞而去。\n展昭喝道：“哪里走！”\n",
    "第三回　比剑\n白玉堂拔剑在手，道：“展兄，请。”\n展昭道：“得罪了。”\n二人你来我往，斗了三十余合，不分胜负。\n",
]

_DATA = Path(os.environ.get("ZH_LSTM_LM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or left in the user's own cache."""
    os.environ["ZH_LSTM_LM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and the library leaves that as it is."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and lose much where other work runs beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora."""
    if not _DATA.is_dir():
        pytest.skip("the real corpora (../shared/data) are not here")
    return _DATA


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Three tiny chapters."""
    return list(TEXTS)


@pytest.fixture(scope="session")
def stream(texts: list[str]) -> TokenStream:
    """The tiny chapters as characters."""
    return TokenStream.from_texts(texts, tokenizer="characters")


@pytest.fixture(scope="session")
def vocabulary(stream: TokenStream) -> Vocabulary:
    """Their vocabulary."""
    return Vocabulary.from_stream(stream)


@pytest.fixture
def model(vocabulary: Vocabulary) -> LSTMLanguageModel:
    """A tiny untrained model with an adaptive softmax, in evaluation mode."""
    config = ModelConfig(embedding_dim=12, hidden_size=16, output="adaptive", cutoffs=(20, 60), dropout=0.0)
    return LSTMLanguageModel(vocabulary, config).eval()


@pytest.fixture
def at_each_word() -> Callable[[Callable[[], object]], AbstractContextManager[None]]:
    """Calls a function in the block before each token that a model generates."""

    @contextmanager
    def block(call: Callable[[], object]) -> Iterator[None]:
        read = DecodingLSTM.read

        def step(self: DecodingLSTM, ids: torch.Tensor, state: Any = None) -> Any:
            if ids.shape[1] == 1:
                call()
            return read(self, ids, state)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DecodingLSTM, "read", step)
            yield

    return block


@pytest.fixture(scope="session")
def exact_products() -> None:
    """Skips a test where matrix products are not batch-invariant."""
    if not BatchInvariantLinear(torch.ones(2, 2)).is_batch_invariant:
        pytest.skip("no layer of float16 weights here (FBGEMM, x86-64 with AVX2); texts are equal up to rounding")


@pytest.fixture(autouse=True)
def _global_random_state_stays() -> object:
    """No call of the library may touch PyTorch's global random state."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), "the global random state was changed"
