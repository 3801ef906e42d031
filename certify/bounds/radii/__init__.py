"""The largest radius that bounds prove for each input, and the proof derived again."""
