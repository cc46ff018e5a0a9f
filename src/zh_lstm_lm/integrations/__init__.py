"""Doors into other projects."""
