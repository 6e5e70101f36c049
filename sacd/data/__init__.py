"""Reading: cohorts, checks, ingest into stores, splits, batches. Knows nothing of simulation."""
