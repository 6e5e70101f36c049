"""Links of a folder of HTML pages, and which of them lead nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Links(HTMLParser):
    """Targets of links and sources, and ids, of one page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.targets.append(values["href"])
        self.loaded += [
            values[n]
            for n in ("src", "href")
            if tag in ("img", "script", "link", "iframe") and values.get(n)
        ]


def broken(site: Path) -> list[str]:
    """Links of all pages that lead nowhere, and what would be loaded from elsewhere."""
    pages = {page: Links(page) for page in sorted(site.glob("*.html"))}
    wrong = []
    for page, links in pages.items():
        wrong += [
            f"{page.name} loads {url[:80]}"
            for url in links.loaded
            if re.match(r"(https?:)?//", url)
        ]
        for url in links.targets + [u for u in links.loaded if not u.startswith("data:")]:
            if re.match(r"(https?:|data:|mailto:|//)", url):
                continue
            path, _, anchor = unquote(url).partition("#")
            target = (page.parent / path).resolve() if path else page
            known = pages.get(target)
            if not target.exists() or (anchor and known and anchor not in known.ids):
                wrong.append(f"{page.name}: {url}")
    return wrong
