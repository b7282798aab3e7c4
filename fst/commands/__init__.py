"""One command of ``fst`` in each file: it parses, calls and prints; may import every other wing."""
