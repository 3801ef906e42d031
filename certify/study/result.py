"""What a study yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.summary import Summary
from certify.errors import IncompleteRun
from certify.summary.summarize import summarize

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a study yields: records in order of position, and where they lie."""

    certificates: list[Certificate]
    findings: list[Finding] | None
    head: Mapping[str, str]
    expected: int
    of: int | None = None
    out: Path | None = None

    @property
    def summary(self) -> Summary:
        """Certified, empirical and clean accuracy at each declared radius.

        Raises:
            IncompleteRun: where the time was over before the first input had a certificate.
        """
        if self.expected and not self.certificates:
            raise IncompleteRun("out of time before the first input; the same command goes on")
        return summarize(self.certificates, self.findings, head=self.head, expected=self.expected, of=self.of)

    def to_frame(self) -> Any:
        """The rows of the summary as a pandas DataFrame, one row a radius."""
        return self.summary.to_frame()

    def plot(self, axes: Any = None) -> Any:
        """Draw certified and empirical accuracy over the radius; return the matplotlib Axes."""
        return self.summary.plot(axes)

    def to_latex(self) -> str:
        """The summary as a LaTeX table, for papers."""
        return self.summary.to_latex()

    def bibtex(self) -> str:
        """BibTeX entries of everything that made the table."""
        return self.summary.bibtex()

    def _repr_html_(self) -> str:
        return self.summary.render("html")
