"""Where a run loses certified accuracy, and what to do next about it: rules that read numbers. Needs no torch."""
