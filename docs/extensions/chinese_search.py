"""Search in Chinese: the pages are cut by jieba (Sphinx's own splitter), and the query by the words of the index."""

import logging

import jieba
from sphinx.application import Sphinx
from sphinx.search.zh import SearchChinese

jieba.setLogLevel(logging.WARNING)

# Sphinx cuts a query at spaces only. The longest words of the index that stand in it are looked up instead, and a
# run of other characters as it is.
_SPLIT_QUERY = r"""
function splitQuery(query) {
  const known = (word) => word in Search._index.terms || word in Search._index.titleterms;
  const cut = (run) => {
    const words = [];
    for (let start = 0; start < run.length; ) {
      let stop = run.length;
      while (stop > start + 1 && !known(run.slice(start, stop))) stop--;
      if (stop > start + 1) words.push(run.slice(start, stop));
      start = stop;
    }
    return words.length ? words : [run];
  };
  return (query.match(/\p{Script=Han}+|[\p{Letter}\p{Number}_]+/gu) || []).flatMap((run) =>
    /\p{Script=Han}/u.test(run) ? cut(run) : [run]);
}
"""


class _Search(SearchChinese):
    # Of the stemmer, which is that of English words; with "Chinese" the script of Sphinx 9.0 names one that there is not.
    language_name = "English"
    js_splitter_code = _SPLIT_QUERY


def setup(app: Sphinx) -> dict[str, bool]:
    """Replaces Sphinx's Chinese search."""
    app.add_search_language(_Search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
