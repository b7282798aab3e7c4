"""One verb of ``fst`` a file: it parses, calls and prints; may import every other wing."""
