"""Plots of summaries, comparisons and bounds: each registers itself where ``certify.core`` looks it up."""
