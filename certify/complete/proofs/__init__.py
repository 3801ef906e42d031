"""What proofs are, how they are kept, and how they are derived again."""
