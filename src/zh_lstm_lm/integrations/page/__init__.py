"""A model as one HTML page that writes."""
