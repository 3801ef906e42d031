"""Defences: how a model answers from many changed copies of an input. One file a member."""
