"""What tables and embeddings say: statistics over subjects, maps, cases, and tidy tables. Takes tables and arrays."""
