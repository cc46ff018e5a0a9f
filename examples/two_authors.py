"""Whose text is it? A model for each author, and the one that finds the text less surprising.

    python examples/two_authors.py                       two halves of the bundled novella
    python examples/two_authors.py one/ other/ text.txt  folders of two authors, and a text

The interval says whether the text is long enough to tell.
"""

import sys
from pathlib import Path

import zh_lstm_lm as lm


def main() -> None:
    """Trains an n-gram model for each author, and compares them on the text paragraph by paragraph."""
    if len(sys.argv) > 1:
        one, other = (lm.TokenStream.from_files(folder) for folder in sys.argv[1:3])
        text = Path(sys.argv[3]).read_text(encoding="utf-8")
    else:
        paragraphs = lm.sample_novel().splitlines(keepends=True)
        half = len(paragraphs) // 2
        # The text is the end of the first half.
        cut = half - half // 10
        one, other = (lm.TokenStream.from_texts(["".join(part)]) for part in (paragraphs[:cut], paragraphs[half:]))
        text = "".join(paragraphs[cut:half])
    # Models are compared on one vocabulary, here that of both authors; it spells words that it lacks.
    both = lm.Vocabulary.from_stream(lm.TokenStream.from_texts([*one.texts(), *other.texts()]))
    first, second = (lm.NGramLanguageModel.from_stream(stream, both, order=3) for stream in (one, other))
    print(lm.compare_models(first, second, lm.TokenStream.from_texts([text])))


if __name__ == "__main__":
    main()
