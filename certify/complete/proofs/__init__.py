"""Proofs of unsatisfiability: their form, their storage as text and files, and their replay."""
