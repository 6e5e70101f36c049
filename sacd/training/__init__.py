"""Training tasks: each turns a config and its inputs into one run folder."""
