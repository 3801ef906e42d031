"""Defences: how a model answers from many copies of an image, parts of which are hidden. One file a member."""
