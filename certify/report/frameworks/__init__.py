"""What runs show beside what clauses of the EU AI Act, the NIST AI RMF and ISO/IEC 42001 ask for."""
