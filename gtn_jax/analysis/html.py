"""HTML pages as element trees, whose serializer escapes all text: names of classes and files are
untrusted. A page loads nothing from the network, runs no script, and forbids both by its policy.
"""

import base64
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

import rich.table

Element = ET.Element
Child = ET.Element | str | None

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882;
        --strong: #2563eb; --other: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --strong: #7aa7ff; --other: #ff9d66; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem;
       overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.headline { font-size: 2.4rem; font-weight: 650; margin: 0; }
.soft { opacity: .75; margin-top: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg, img { max-width: 100%; height: auto; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
          gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; }
.wrong { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }
.wrong img { width: 96px; height: 96px; object-fit: contain; background: var(--soft); }
.bar { background: var(--soft); width: 12rem; height: .8rem; display: inline-block; }
.bar span { background: var(--strong); height: 100%; display: block; }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: .85rem; }
"""


def element(tag: str, attributes: dict[str, str] | None = None, *children: Child) -> Element:
    """An element; strings are text, None is omitted."""
    node = ET.Element(tag, attributes or {})
    last: Element | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                node.text = (node.text or "") + _printable(child)
            else:
                last.tail = (last.tail or "") + _printable(child)
        elif child is not None:
            node.append(child)
            last = child
    return node


def table(head: Sequence[str], rows: Iterable[Sequence[Child]]) -> Element:
    """A table that scrolls inside its box on narrow screens."""
    heading = element("tr", None, *(element("th", {"scope": "col"}, cell) for cell in head))
    lines = [element("tr", None, *(element("td", None, cell) for cell in row)) for row in rows]
    body = element("tbody", None, *lines)
    return element(
        "div", {"class": "wide"}, element("table", None, element("thead", None, heading), body)
    )


def from_rich(shown: rich.table.Table) -> Element:
    """The HTML of a terminal table."""
    head = [str(column.header) for column in shown.columns]
    columns = [[str(cell) for cell in column.cells] for column in shown.columns]
    return table(head, zip(*columns, strict=True))


def image(content: bytes, kind: str, alternative: str) -> Element:
    """An inline image; `kind` is png or jpeg."""
    data = base64.b64encode(content).decode()
    return element(
        "img", {"src": f"data:image/{kind};base64,{data}", "alt": _printable(alternative)}
    )


def page(title: str, *sections: Child) -> str:
    """The whole document."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    style = element("style")
    style.text = STYLE
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("title", None, title),
        style,
    )
    root = element("html", {"lang": "en"}, head, element("body", None, *sections))
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _printable(text: str) -> str:
    # File names may hold control characters and lone surrogates, which HTML must not.
    return "".join(
        c if c in "\n\t" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else "\ufffd"
        for c in text
    )
