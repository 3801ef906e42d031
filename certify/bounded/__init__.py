"""Files and texts that somebody else wrote, read in bounded memory: every loader reads through these."""
