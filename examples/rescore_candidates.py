"""The candidates of a speech recogniser or a spelling checker in the order of a language model.

    python examples/rescore_candidates.py [MODEL]    a saved model, or an n-gram model of the bundled novella

The command `zh-lstm-lm rescore` reads such lists from files.
"""

import sys

import zh_lstm_lm as lm

# Sentences that sound alike, each with the recogniser's own log-probability, in nats.
CANDIDATES = [("他把剑收回了桥里。", -10.0), ("他把剑收回了鞘里。", -10.5), ("他把箭收回了鞘里。", -10.2)]


def main() -> None:
    """Prints the candidates, the best one first, and the words of the best that surprise the model most."""
    if len(sys.argv) > 1:
        model = lm.from_pretrained(sys.argv[1])
    else:
        novel = lm.TokenStream.from_texts([lm.sample_novel()])
        model = lm.NGramLanguageModel.from_stream(novel, lm.Vocabulary.from_stream(novel), order=4)
    # The score is the recogniser's plus `weight` times the model's; choose the weight on a validation set.
    ranked = lm.rescore(model, CANDIDATES, weight=0.5)
    for candidate in ranked:
        print(f"{candidate.score:8.2f}  {candidate.log_prob:8.2f}  {candidate.text}")
    words = sorted(lm.score(model, ranked[0].text).words, key=lambda word: word.surprisal, reverse=True)
    print("doubtful:", "，".join(f"{word.text} ({word.surprisal:.1f} bits)" for word in words[:2]))


if __name__ == "__main__":
    main()
