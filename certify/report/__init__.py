"""What people read: formats of a summary, and pages, papers, cards and comments about runs.

Formats register themselves in ``certify.core.summary.FORMATS``, views of single values in ``certify.core.shown.VIEWS``.
"""
