"""Runs and studies as one page of HTML: reading folders, drawing plots, writing the page, one idea a file."""
