"""Looking for counterexamples, and executing them."""
