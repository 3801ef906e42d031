"""What a model is worth after its release, beside what was certified of it."""
