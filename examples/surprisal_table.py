"""The surprisal of every word of some sentences as a table that R and pandas read.

    python examples/surprisal_table.py > table.tsv        with an n-gram model of the bundled novella
    python examples/surprisal_table.py MODEL > table.tsv  with a saved model

The command `zh-lstm-lm score --table` adds the columns to a table of stimuli.
"""

import csv
import sys

import zh_lstm_lm as lm

SENTENCES = ["掌柜的把门关上了。", "门把掌柜的关上了。"]


def main() -> None:
    """Writes a row for each word: sentence, position in characters, word, surprisal in bits."""
    if len(sys.argv) > 1:
        model = lm.from_pretrained(sys.argv[1])
    else:
        novel = lm.TokenStream.from_texts([lm.sample_novel()])
        model = lm.NGramLanguageModel.from_stream(novel, lm.Vocabulary.from_stream(novel), order=4)
    table = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
    table.writerow(["sentence", "start", "word", "surprisal"])
    for number, scored in enumerate(lm.score_batch(model, SENTENCES), start=1):
        table.writerows((number, word.start, word.text, f"{word.surprisal:.3f}") for word in scored.words)


if __name__ == "__main__":
    main()
