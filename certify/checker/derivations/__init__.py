"""How claims are derived again, one file for each kind of evidence."""
