"""Tokens to ids to batches."""
