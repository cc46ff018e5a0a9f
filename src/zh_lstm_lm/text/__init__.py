"""Bytes on disk to clean documents: decoding, cleaning, and finding the files."""
