"""Complete verification: a proof, a witness, or neither within the time limit; branch and bound over what bounds say."""
