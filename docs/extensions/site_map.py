"""sitemap.xml and llms.txt of both languages, written beside the English pages."""

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config


def _address_of_language(_: Sphinx, config: Config) -> None:
    if config.language != "en":
        config.html_baseurl = f"{config.html_baseurl}zh/"  # type: ignore[attr-defined]


def _write(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.name != "html" or app.config.language != "en":
        return
    base = app.config.html_baseurl
    urls = []
    for page in sorted(app.env.found_docs):
        addresses = {"en": f"{base}{page}.html", "zh-CN": f"{base}zh/{page}.html"}
        links = "".join(
            f'<xhtml:link rel="alternate" hreflang="{language}" href="{address}"/>'
            for language, address in addresses.items()
        )
        urls += [f"<url><loc>{address}</loc>{links}</url>\n" for address in addresses.values()]
    namespaces = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml"'
    site_map = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {namespaces}>\n{"".join(urls)}</urlset>\n'
    (app.outdir / "sitemap.xml").write_text(site_map, encoding="utf-8")
    (app.outdir / "llms.txt").write_text(_overview(app, base), encoding="utf-8")


def _overview(app: Sphinx, base: str) -> str:
    """Every page with its first sentence and the address of its source, in the layout of llmstxt.org."""
    index = app.env.get_doctree("index")
    lines = [f"# {app.config.project}", "", f"> {_first_sentence(index)}"]
    for tree in index.findall(addnodes.toctree):
        lines += ["", f"## {tree['caption']}", ""]
        for _, page in tree["entries"]:
            title, about = app.env.titles[page].astext(), _first_sentence(app.env.get_doctree(page))
            lines.append(f"- [{title}]({base}_sources/{page}.md.txt): {about}")
    return "\n".join([*lines, "", f"The same pages in Chinese: {base}zh/index.html", ""])


def _first_sentence(page: nodes.document) -> str:
    """The first sentence of a page's first paragraph that is not a link alone."""
    for paragraph in page.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if text.endswith((".", ":", "。")):
            return text.partition(". ")[0].rstrip(":.") + "."
    return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes the files when the build is finished, and gives the Chinese pages addresses of their own."""
    app.connect("config-inited", _address_of_language)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
