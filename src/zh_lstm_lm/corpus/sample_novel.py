"""The sample novel of the package."""

from importlib import resources

__all__ = ["sample_novel"]


def sample_novel() -> str:
    r"""Returns the text of the bundled novella, 《空匣镖》: a title and sixteen chapters, one paragraph per line.

    It was written for this project and is in the public domain (CC0); its licence is in the same folder.

    Example:
        >>> import zh_lstm_lm
        >>> stream = zh_lstm_lm.TokenStream.from_texts([zh_lstm_lm.sample_novel()], tokenizer="characters")
        >>> stream.num_documents
        1
    """
    return resources.files("zh_lstm_lm").joinpath("data", "sample_novel.txt").read_text(encoding="utf-8")
