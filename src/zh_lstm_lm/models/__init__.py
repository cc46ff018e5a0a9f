"""Ids to log-probabilities."""
