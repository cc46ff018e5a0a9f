"""Studies: one training run per setting and seed, measured and judged."""
