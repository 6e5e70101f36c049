"""The paper's printed numbers, and what they imply about each other."""
