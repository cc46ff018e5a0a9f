"""Text to tokens: a protocol, adapters for segmenters, and a registry of names."""
