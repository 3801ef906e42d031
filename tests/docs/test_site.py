"""The pages hang together: links and anchors resolve, every page can be reached, every public name is documented.

None of this needs mkdocs, which ``make docs`` runs.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import certify
from certify import extend

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ_ALONE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
DOCUMENTED = re.compile(r"^::: certify\.(\w+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without code and without what readers do not see."""
    return COMMENT.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page that both the site and the repository's host make of its headings."""
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", title) for title in HEADING.findall(prose(page))]
    words = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", one) for one in words} & {one.replace(" ", "-") for one in words}


def named(nav: Any) -> Iterator[str]:
    """The files in a ``nav`` of mkdocs."""
    for one in nav if isinstance(nav, list) else nav.values():
        if isinstance(one, str):
            yield one
        else:
            yield from named(one)


@pytest.mark.parametrize("page", [*PAGES, *READ_ALONE], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_anchor_resolves(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}: no such heading")
    assert not broken


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title: of `two`\n\n[one](other.md#x), [two `[0, 1]`](#a-title-of-two)\n```\n[no](link)\n```\n")
    assert links(page) == ["other.md#x", "#a-title-of-two"]
    assert anchors(page) == {"a-title-of-two"}


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(named(SITE["nav"])) == [page.relative_to(DOCS).as_posix() for page in PAGES]


def test_the_reference_documents_every_public_name() -> None:
    pages = [page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "api"]
    documented = [name for text in pages for name in DOCUMENTED.findall(text)]
    assert sorted(documented) == sorted(set(certify.__all__) - {"__version__"}), (
        "each name of certify.__all__ has one line `::: certify.NAME` on one page of docs/api/"
    )
    assert any("certify.__version__" in text for text in pages)


def test_the_page_of_extensions_names_all_that_they_are_made_of() -> None:
    page = (DOCS / "api/extending.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"`(\w+)`", page)) & set(extend.__all__)) == sorted(extend.__all__)


def test_the_examples_of_extensions_import_from_one_place_and_cover_every_class_with_a_registry() -> None:
    page = (DOCS / "extending.md").read_text(encoding="utf-8")
    homes = re.findall(r"^>>> from (certify[\w.]*) import", page, re.MULTILINE)
    assert set(homes) == {"certify", "certify.extend"}
    registered = set(re.findall(r"(\b[A-Z]+)\.register\(", page))
    assert registered >= {
        "THREATS",
        "PROPERTIES",
        "CERTIFIERS",
        "EVIDENCE",
        "DERIVATIONS",
        "NOISES",
        "ATTACKS",
        "ENGINES",
    }


def test_every_term_is_defined_once() -> None:
    terms = [title.lower() for title in re.findall(r"^### (.+)$", (DOCS / "glossary.md").read_text(), re.MULTILINE)]
    assert len(set(terms)) == len(terms)


def test_what_the_site_makes_of_pages_and_docstrings() -> None:
    [path] = SITE["hooks"]
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / path)
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="tutorials/paper.md"))
    text = "[a](../../results/latex) [b](../check.md#x)\n<!-- hidden\n\n>>> 1\n\n-->\n```python\n>>> 1 + 1\n```\n"
    made = hook.on_page_markdown(text, page=page, config=SimpleNamespace(repo_url=f"{SITE['repo_url']}/"), files=None)
    assert made == f"[a]({SITE['repo_url']}/blob/main/results/latex) [b](../check.md#x)\n```pycon\n>>> 1 + 1\n```\n"
    assert hook.docstring("See :func:`~certify.smooth`.\n\n>>> 1\n1\n\nMore.") == (
        "See `smooth`.\n\n```pycon\n>>> 1\n1\n```\n\nMore."
    )
