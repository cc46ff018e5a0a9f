"""Text to tokens: a protocol of two methods, adapters for segmenters, and a registry of names."""
