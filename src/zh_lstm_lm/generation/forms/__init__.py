"""Forms of a text: lines of given lengths and first characters, words that must occur, names to use."""
