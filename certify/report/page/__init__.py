"""The HTML page of one or several runs: one file that needs nothing else, in print and in the dark as well."""
