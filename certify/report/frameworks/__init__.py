"""What runs show beside what clauses of the EU AI Act, the NIST AI RMF, ISO/IEC 42001 and ISO/IEC 24029-2 ask for."""
