"""Complete verification: a proof, a witness, or neither within the time limit."""
