"""Progress of long work: who is told how far it is, and how that looks in a terminal, a notebook and a file."""
