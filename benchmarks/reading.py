"""The effect of each step of reading on bits per character, everything else equal.

    python benchmarks/reading.py CORPUS [--steps 1500] [--variants default,no-hmm]

Every variant trains the same model for the same number of updates of the same size on the training part, and is measured
on the test part, which is the tail of every document. A cleaned text is another text: its figure is per character of the
cleaned one, so models of both are measured on both texts (columns "cleaned" and "as it is", the latter with only indents
and empty lines taken off). Lower is better; two seeds of one variant differ by about 0.01.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    get_tokenizer,
)

# People of the novels of knights-errant, most of whom jieba does not know.
NAMES = [
    "展昭", "白玉堂", "蒋平", "徐庆", "卢方", "韩彰", "智化", "欧阳春", "艾虎", "丁兆兰", "丁兆蕙", "沈仲元",
    "公孙策", "徐良", "白芸生", "卢珍", "韩天锦", "黄天霸", "施公", "彭公", "欧阳德", "马玉龙", "杨香武", "朱光祖",
    "贺天保", "计全", "姜子牙", "申公豹", "黄飞虎", "雷震子", "牛皋", "秦叔宝", "程咬金", "单雄信", "尉迟恭", "薛仁贵",
    "薛丁山", "樊梨花", "徐茂公", "罗成", "狄青", "呼延豹", "周侗", "汤怀", "王贵", "陈希真", "陈丽卿", "云天彪",
    "祝永清", "唐赛儿", "李俊", "乐和", "马成龙", "张广太", "胜奎", "华云龙", "罗焜", "胡奎", "鸾英", "凤仙",
]  # fmt: skip
AS_IT_IS: dict[str, Any] = {"clean": "indents+empty_lines", "normalize": "none"}


@dataclass(frozen=True)
class Variant:
    """The options of reading of a variant."""

    tokenizer: str = "jieba"
    options: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "default": Variant(),
    "no-cleaning": Variant(reading=AS_IT_IS),
    "no-width-folding": Variant(reading={"normalize": "nfc"}),
    "no-hmm": Variant(options={"hmm": False}),
    "user-dictionary": Variant(options={"user_dictionary": NAMES}),
    "characters": Variant("characters"),
}


def run(name: str, corpus: str, steps: int) -> dict[str, Any]:
    """Trains and measures one variant."""
    variant = VARIANTS[name]
    tokenizer = get_tokenizer(variant.tokenizer, **variant.options)
    train, _, test = TokenStream.from_files(corpus, tokenizer=tokenizer, **variant.reading).split()
    other: dict[str, Any] = {} if name == "no-cleaning" else AS_IT_IS
    _, _, other_test = TokenStream.from_files(corpus, tokenizer=tokenizer, **other).split()
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=128, hidden_size=256))
    trainer = Trainer(model, train, None, TrainerConfig(max_steps=steps), progress=False)
    trainer.fit()
    texts = {"cleaned": test, "as it is": other_test}
    if name == "no-cleaning":
        texts = {"cleaned": other_test, "as it is": test}
    figures = {title: evaluate(model, text).bits_per_character for title, text in texts.items()}
    return {"vocabulary": len(vocabulary), "epochs": round(trainer.state.epoch, 2), **figures}


def main() -> None:
    """Runs the variants, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--side", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run(options.side, options.corpus, options.steps)))
        return
    print(f"{'variant':<18} {'vocabulary':>10} {'epochs':>6} {'cleaned':>8} {'as it is':>8}   bits per character")
    for name in options.variants.split(","):
        command = [sys.executable, __file__, options.corpus, "--steps", str(options.steps), "--side", name]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{name:<18} {figures['vocabulary']:>10,} {figures['epochs']:>6} {figures['cleaned']:>8.4f} "
            f"{figures['as it is']:>8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
