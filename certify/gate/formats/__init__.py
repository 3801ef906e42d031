"""How a judgement is written: one file a format."""
