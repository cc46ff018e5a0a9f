"""The commands, one group a file: options and handlers of a few lines."""
