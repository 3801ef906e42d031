"""The life of a system in five steps, and what the records in run folders show of each."""
