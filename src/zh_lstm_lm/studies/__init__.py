"""Studies: the same training under one condition after another, measured and judged."""
