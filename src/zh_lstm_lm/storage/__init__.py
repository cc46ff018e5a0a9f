"""Files that are kept safely."""
