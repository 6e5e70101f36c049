"""Nights as files: cohort, checks, ingest into stores, splits, batches. Reads files and never simulates."""
