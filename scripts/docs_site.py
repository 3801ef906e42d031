"""What ``make docs`` does to a page on its way from ``docs/`` to the site: a hook of mkdocs, named in ``mkdocs.yml``.

Pages are written to be read in the repository as well, so they link to files outside ``docs/`` by relative paths. On
the site such a link leads to the repository.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

HIDDEN = re.compile(r"^<!--.*?^-->\n", re.DOTALL | re.MULTILINE)  # set-up that only the tests read
LINK = re.compile(r"(\]\()(\.\./[^)\s#]+)")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?([^<]+)</code>")
SESSION = re.compile(r"^```python\n(?=>>> )", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page without hidden set-up, with links into the repository, and sessions marked as such."""
    folder = posixpath.dirname(page.file.src_uri)

    def outside(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match[2]))
        return match[0] if path.startswith("docs/") else f"{match[1]}{config.repo_url.rstrip('/')}/blob/main/{path}"

    return SESSION.sub("```pycon\n", LINK.sub(outside, HIDDEN.sub("", markdown)))


def on_page_content(html: str, **_: Any) -> str:
    """Names in docstrings without the roles that another tool reads."""
    return ROLE.sub(lambda match: f"<code>{match[1].removeprefix('certify.')}</code>", html)
