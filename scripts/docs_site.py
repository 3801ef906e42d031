"""What ``make docs`` does to pages and docstrings on their way to the site; ``mkdocs.yml`` names both parts.

Pages are written to be read in the repository as well, so they link to files outside ``docs/`` by relative paths. On
the site such a link leads to the repository. Docstrings are written to be read in an editor.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

try:
    from griffe import Extension
except ImportError:  # the tests read this file without the tools that build the site
    Extension = object

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).+)*", re.MULTILINE)  # a session ends before an empty line
HIDDEN = re.compile(r"^<!--.*?^-->\n", re.DOTALL | re.MULTILINE)  # set-up that only the tests read
LINK = re.compile(r"(\]\()(\.\./[^)\s#]+)")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(?:~?certify\.(?:\w+\.)*)?([^`]+)`")
SESSION = re.compile(r"^```python\n(?=>>> )", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page without hidden set-up, with links into the repository, and sessions marked as such."""
    folder = posixpath.dirname(page.file.src_uri)

    def outside(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match[2]))
        return match[0] if path.startswith("docs/") else f"{match[1]}{config.repo_url.rstrip('/')}/blob/main/{path}"

    return SESSION.sub("```pycon\n", LINK.sub(outside, HIDDEN.sub("", markdown)))


def docstring(text: str) -> str:
    """A docstring as Markdown: examples in fences, names without the roles that another tool reads."""
    return EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", ROLE.sub(r"`\1`", text))


class Docstrings(Extension):
    """Turns the docstrings of the API reference into Markdown."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each object that was read."""
        if obj.docstring:
            obj.docstring.value = docstring(obj.docstring.value)
