"""Analysis of tables and embeddings: statistics over subjects, maps, cases, tidy tables."""
