"""What is commonly claimed, judged by the rows of a study: functions of the rows and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from zh_lstm_lm.studies.result import Claim, Text, Verdict
from zh_lstm_lm.studies.spread import Difference, by_setting, compare, spread_of

__all__ = ["judge_epochs", "judge_seq_len", "judge_vocabulary"]

Rows = Sequence[Mapping[str, Any]]

_SETTLED = Text(
    en="a difference counts where it is more than three of its standard errors",
    zh="差异超过其标准误的三倍才算数",
)
_VANISHED = 0.01
_EXPLODED = 10.0


def judge_seq_len(rows: Rows) -> list[Claim]:
    """Judges what is claimed of the length of training windows."""
    groups = {length: group for (length,), group in sorted(by_setting(rows, "bptt_len").items())}
    short, long = min(groups), max(groups)
    ends = groups[short], groups[long]

    def between(difference: Difference, form: str, en: str, zh: str) -> Text:
        first, second = format(difference.first, form), format(difference.second, form)
        return Text(
            en=f"{en}: {first} with windows of {short}, {second} with windows of {long}",
            zh=f"{zh}：窗口 {short} 时 {first}，窗口 {long} 时 {second}",
        )

    time = compare(*ends, "microseconds_per_token")
    memory = compare(*ends, "memory_mb")
    gap = compare(*ends, "gap_bits_per_character")
    quality = compare(*ends, "test_bits_per_character")
    context = compare(*ends, "context_used_tokens")
    return [
        _judge_sign(
            "time",
            Text(
                en="Longer windows take longer to train on the same text.",
                zh="窗口越长，读完同样的文本所需的训练时间越长。",
            ),
            time.sign,
            between(time, ",.0f", "microseconds a token", "每词微秒数"),
            Text(en="time a token, the longest windows against the shortest", zh="每词用时，最长窗口与最短窗口相比"),
        ),
        _judge_sign(
            "memory",
            Text(en="Longer windows take more memory.", zh="窗口越长，占用的内存越多。"),
            memory.sign,
            between(memory, ",.1f", "megabytes held by an update", "一次更新占用的兆字节数"),
            Text(
                en="memory of an update, the longest windows against the shortest",
                zh="一次更新占用的内存，最长窗口与最短窗口相比",
            ),
        ),
        _judge_vanishing(groups[long], long),
        _judge_explosion(groups[long], long),
        _judge_sign(
            "generalisation",
            Text(en="Longer windows generalise better.", zh="窗口越长，泛化越好。"),
            -gap.sign,
            between(gap, ".3f", "bits per character, test less training", "测试集减训练集的每字比特数"),
            Text(
                en="the gap between test and training loss, the longest windows against the shortest",
                zh="测试损失与训练损失之差，最长窗口与最短窗口相比",
            ),
        ),
        _judge_sign(
            "prediction",
            Text(en="Longer windows predict better.", zh="窗口越长，预测越准。"),
            -quality.sign,
            between(quality, ".3f", "bits per character of the test part", "测试集每字比特数"),
            Text(
                en="bits per character of the test part, the longest windows against the shortest",
                zh="测试集每字比特数，最长窗口与最短窗口相比",
            ),
        ),
        _judge_sign(
            "context",
            Text(en="Longer windows teach the model to use more context.", zh="窗口越长，模型学会利用的上文越长。"),
            context.sign,
            between(context, ",.0f", "tokens of context that are used", "实际利用的上文词数"),
            Text(
                en="the fewest last tokens with which the loss is within 0.01 nats of the lowest, the longest windows "
                "against the shortest",
                zh="损失比最低值高出不超过 0.01 奈特所需的最少词数，最长窗口与最短窗口相比",
            ),
        ),
        _judge_too_long(groups),
    ]


def _judge_sign(name: str, claim: Text, sign: int, figure: Text, rule: Text) -> Claim:
    """Holds where the sign is 1, does not where it is -1, depends where the spread leaves it open."""
    verdicts: dict[int, Verdict] = {1: "holds", 0: "depends", -1: "does not hold"}
    rule = Text(en=f"{rule['en']}; {_SETTLED['en']}", zh=f"{rule['zh']}；{_SETTLED['zh']}")
    return Claim(name=name, claim=claim, verdict=verdicts[sign], figure=figure, rule=rule)


def _judge_all(name: str, claim: Text, outcomes: Sequence[bool], figure: Text, rule: Text) -> Claim:
    """Holds where every seed says so, does not where none does."""
    verdict: Verdict = "holds" if all(outcomes) else "depends" if any(outcomes) else "does not hold"
    return Claim(name=name, claim=claim, verdict=verdict, figure=figure, rule=rule)


def _judge_vanishing(group: Rows, length: int) -> Claim:
    """Whether what arrives from a window's end at its beginning is next to nothing, in both parts of the state."""
    paths = ("gradient_by_distance", "cell_gradient_by_distance")
    hidden, cell = ([_arriving(row[path], length) for row in group] for path in paths)
    reach = spread_of(_reach(row["cell_gradient_by_distance"][:length]) for row in group)
    return _judge_all(
        "vanishing",
        Text(en="Over long windows the gradient vanishes.", zh="窗口很长时，梯度会消失。"),
        [max(pair) < _VANISHED for pair in zip(hidden, cell, strict=True)],
        Text(
            en=f"of the gradient one token back, {spread_of(hidden):.1e} (hidden state) and {spread_of(cell):.1e} (cell "
            f"state) arrive {length} tokens back; in the cell state it is above 1 % for {reach:.0f} tokens",
            zh=f"与前一个词处的梯度相比，{length} 个词之前只剩 {spread_of(hidden):.1e}（隐状态）和 "
            f"{spread_of(cell):.1e}（细胞状态）；细胞状态的梯度在 {reach:.0f} 个词以内高于 1 %",
        ),
        Text(
            en=f"under 1 % of the gradient one token back arrives {length} tokens back, in hidden and cell state, with "
            "every seed",
            zh=f"每个种子下，{length} 个词之前的梯度（隐状态与细胞状态）都不到前一个词处的 1 %",
        ),
    )


def _arriving(norms: Sequence[float], distance: int) -> float:
    """What arrives so many tokens back, over what arrives one token back."""
    return norms[distance - 1] / norms[0] if norms[0] else 0.0


def _reach(norms: Sequence[float]) -> int:
    """How many tokens back the gradient stays above the bound, without a break."""
    return next((k for k, norm in enumerate(norms) if norm < _VANISHED * norms[0]), len(norms))


def _judge_explosion(group: Rows, length: int) -> Claim:
    """Whether some update's gradient stood out beyond all measure."""
    ratios = [row["largest_gradient_norm"] / row["gradient_norm"] for row in group]
    clipped = spread_of(row["clipped_share"] for row in group)
    return _judge_all(
        "explosion",
        Text(en="Over long windows the gradient explodes.", zh="窗口很长时，梯度会爆炸。"),
        [ratio > _EXPLODED for ratio in ratios],
        Text(
            en=f"with windows of {length} the largest norm is {spread_of(ratios):.1f} times the mean one; "
            f"{clipped:.0%} of the updates are clipped",
            zh=f"窗口 {length} 时，最大范数是平均范数的 {spread_of(ratios):.1f} 倍；{clipped:.0%} 的更新被裁剪",
        ),
        Text(
            en=f"the largest gradient norm before clipping is more than {_EXPLODED:.0f} times the mean one, with every seed",
            zh=f"每个种子下，裁剪前最大梯度范数都超过平均值的 {_EXPLODED:.0f} 倍",
        ),
    )


def _judge_too_long(groups: Mapping[int, Rows]) -> Claim:
    """Whether the longest windows are worse than the best ones."""
    bits = {length: spread_of(row["test_bits_per_character"] for row in group) for length, group in groups.items()}
    best, longest = min(bits, key=lambda length: bits[length].mean), max(bits)
    verdict: Verdict = (
        "does not hold" if best == longest else "holds" if Difference(bits[best], bits[longest]).sign > 0 else "depends"
    )
    return Claim(
        name="too_long",
        claim=Text(en="Windows that are too long hurt.", zh="窗口过长反而有害。"),
        verdict=verdict,
        figure=Text(
            en=f"the best windows are those of {best}: {bits[best]:.3f} bits per character of the test part, those of "
            f"{longest}: {bits[longest]:.3f}",
            zh=f"最好的窗口是 {best}：测试集每字 {bits[best]:.3f} 比特；窗口 {longest}：{bits[longest]:.3f}",
        ),
        rule=Text(
            en="the best windows are not the longest, and the longest are worse by more than three standard errors of the "
            "difference",
            zh="最好的窗口不是最长的，且最长窗口的差距超过差值标准误的三倍",
        ),
    )


def judge_epochs(rows: Rows) -> list[Claim]:
    """Judges what is claimed of training on, and of more text."""
    groups = {share: group for (share,), group in sorted(by_setting(rows, "train_share").items())}
    whole, smallest = groups[max(groups)], groups[min(groups)]
    curve = "valid_bits_per_character_by_epoch"
    falls = Difference(*(spread_of(row[curve][place] for row in whole) for place in (0, -1)))
    overfits = {share: _overfits(group, curve) for share, group in groups.items()}
    told = {share: f"{d.first:.3f} → {d.second:.3f}" for share, d in overfits.items()}
    text = compare(smallest, whole, "test_bits_per_character")
    novelty = Difference(*(spread_of(row["novelty_by_epoch"][place] for row in whole) for place in (0, -1)))
    return [
        _judge_sign(
            "perplexity",
            Text(en="Perplexity falls epoch after epoch.", zh="困惑度随训练轮数下降。"),
            -falls.sign,
            Text(
                en=f"bits per character of the validation part: {falls.first:.3f} after the first epoch, "
                f"{falls.second:.3f} after the last",
                zh=f"验证集每字比特数：第一轮后 {falls.first:.3f}，最后一轮后 {falls.second:.3f}",
            ),
            Text(en="the whole text, the last epoch against the first", zh="全部文本，最后一轮与第一轮相比"),
        ),
        _judge_all(
            "overfitting",
            Text(en="Training for too long overfits.", zh="训练过久会过拟合。"),
            [difference.sign > 0 for difference in overfits.values()],
            Text(
                en="bits per character of the validation part, after the best epoch → after the last, by share of the text: "
                + "; ".join(f"{share:g}: {figures}" for share, figures in told.items()),
                zh="验证集每字比特数，最好一轮后 → 最后一轮后，按所用文本比例："
                + "；".join(f"{share:g}：{figures}" for share, figures in told.items()),
            ),
            Text(
                en=f"the last epoch is worse than the best one, for each share of the text; {_SETTLED['en']}",
                zh=f"对每个文本比例，最后一轮都差于最好的一轮；{_SETTLED['zh']}",
            ),
        ),
        _judge_sign(
            "novelty",
            Text(
                en="The longer the training, the less new is what the model writes.", zh="训练越久，写出的文字越不新。"
            ),
            -novelty.sign,
            Text(
                en=f"3-grams of words that the training text does not have: {novelty.first:.1%} after the first epoch, "
                f"{novelty.second:.1%} after the last",
                zh=f"训练文本中没有的三词组所占比例：第一轮后 {novelty.first:.1%}，最后一轮后 {novelty.second:.1%}",
            ),
            Text(en="the whole text, the last epoch against the first", zh="全部文本，最后一轮与第一轮相比"),
        ),
        _judge_sign(
            "more_text",
            Text(en="More text makes a better model.", zh="文本越多，模型越好。"),
            -text.sign,
            Text(
                en=f"bits per character of the test part: {text.first:.3f} with {min(groups):g} of the text, "
                f"{text.second:.3f} with all of it",
                zh=f"测试集每字比特数：用 {min(groups):g} 的文本时 {text.first:.3f}，用全部文本时 {text.second:.3f}",
            ),
            Text(
                en="as many tokens of training, the whole text against the smallest share",
                zh="训练词数相同，全部文本与最小比例相比",
            ),
        ),
    ]


def _overfits(group: Rows, curve: str) -> Difference:
    """The epoch that is best on average, against the last one."""
    epochs = [spread_of(values) for values in zip(*(row[curve] for row in group), strict=True)]
    return Difference(min(epochs, key=lambda spread: spread.mean), epochs[-1])


def judge_vocabulary(rows: Rows) -> list[Claim]:
    """Judges what is claimed of vocabularies; only what the rows hold is judged."""
    own = rows[0]["tokenizer"]
    spelled = by_setting((row for row in rows if row["unknown"] == "characters"), "tokenizer")
    sizes = sorted(by_setting(spelled[own,], "vocabulary_size").items())
    (small,), small_rows = sizes[0]
    (large,), large_rows = sizes[-1]
    quality = compare(small_rows, large_rows, "test_bits_per_character")
    speed = compare(small_rows, large_rows, "microseconds_per_character")

    def between(difference: Difference, form: str, unit: Text, first: str, second: str) -> Text:
        figures = format(difference.first, form), format(difference.second, form)
        return Text(
            en=f"{unit['en']}: {figures[0]} ({first}), {figures[1]} ({second})",
            zh=f"{unit['zh']}：{figures[0]}（{first}），{figures[1]}（{second}）",
        )

    bits = Text(en="bits per character of the test part", zh="测试集每字比特数")
    ends = f"{small:,}", f"{large:,}"
    claims = [
        _judge_sign(
            "size",
            Text(en="A larger vocabulary predicts better.", zh="词表越大，预测越准。"),
            -quality.sign,
            between(quality, ".3f", bits, *ends),
            Text(
                en="bits per character, the largest vocabulary against the smallest",
                zh="每字比特数，最大词表与最小词表相比",
            ),
        ),
        _judge_sign(
            "speed",
            Text(en="A larger vocabulary trains more slowly.", zh="词表越大，训练越慢。"),
            speed.sign,
            between(speed, ",.0f", Text(en="microseconds a character", zh="每字微秒数"), *ends),
            Text(
                en="time a character, the largest vocabulary against the smallest",
                zh="每字用时，最大词表与最小词表相比",
            ),
        ),
    ]
    if ("characters",) in spelled and own != "characters":
        words = compare(spelled["characters",], large_rows, "test_bits_per_character")
        claims.append(
            _judge_sign(
                "words",
                Text(en="Words predict better than characters.", zh="以词为单位比以字为单位预测更准。"),
                -words.sign,
                between(words, ".3f", bits, "characters", own),
                Text(en="bits per character, words against characters", zh="每字比特数，词与字相比"),
            )
        )
    if ("jieba",) in spelled and ("rjieba",) in spelled:
        first, second = (max(by_setting(spelled[name,], "vocabulary_size").items())[1] for name in ("jieba", "rjieba"))
        segmenters = compare(first, second, "test_bits_per_character")
        claims.append(
            Claim(
                name="segmenters",
                claim=Text(en="jieba and rjieba give equally good models.", zh="jieba 与 rjieba 得到的模型同样好。"),
                verdict="does not hold" if segmenters.sign else "holds",
                figure=between(segmenters, ".3f", bits, "jieba", "rjieba"),
                rule=Text(
                    en=f"bits per character do not differ beyond the spread; {_SETTLED['en']}",
                    zh=f"每字比特数的差异不超出种子间的波动；{_SETTLED['zh']}",
                ),
            )
        )
    closed = [row for row in rows if row["unknown"] == "unk"]
    if closed:
        perplexity = compare(large_rows, closed, "test_perplexity")
        unknown = spread_of(row["unknown_rate"] for row in closed)
        told = between(perplexity, ",.1f", Text(en="perplexity per token", zh="每词困惑度"), "characters", "<unk>")
        claims.append(
            _judge_sign(
                "unknown_words",
                Text(en="A vocabulary with <unk> shows a lower perplexity.", zh="用 <unk> 的词表显示出更低的困惑度。"),
                -perplexity.sign,
                Text(
                    en=f"{told['en']}; {unknown:.1%} of the tokens are <unk>, whose text is not predicted at all",
                    zh=f"{told['zh']}；{unknown:.1%} 的词成了 <unk>，其文字根本没有被预测",
                ),
                Text(en="perplexity per token, <unk> against spelling", zh="每词困惑度，<unk> 与拼写相比"),
            )
        )
    return claims
