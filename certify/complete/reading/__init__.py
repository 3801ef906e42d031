"""Reading questions about networks, VNN-LIB 1.0 and 2.0, and writing and reading their witnesses; free of torch."""
