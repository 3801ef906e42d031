"""Progress of long work, shown in a terminal, a notebook or a file."""
