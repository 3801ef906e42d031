"""Format ``latex``: a table, a figure and the references of one or several runs for a paper.

The registry of formats imports this package alone, so the table that registers itself is imported here.
"""

from certify.report.latex.folder import write_latex
from certify.report.latex.table import table

__all__ = ["table", "write_latex"]
