"""The command line, one command a file: options and handlers of a few lines."""
