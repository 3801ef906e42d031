"""What the adversary may do: one file a threat."""
