"""Content that is not running text: recognised, and records read by a field."""
