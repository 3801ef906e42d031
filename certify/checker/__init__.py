"""The small trusted kernel: it derives every claim again from its evidence and trusts none of the certifiers."""
