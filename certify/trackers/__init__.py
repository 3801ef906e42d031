"""Experiment trackers that runs are logged to: one file each."""
