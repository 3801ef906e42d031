"""The small trusted kernel: every claim derived again from its evidence, none of it believed."""
