"""Architectures by name: each describes its layers for the shape of an input and a number of classes."""
