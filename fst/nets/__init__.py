"""The network of one pass (paper, section 3.1) and its file; may import system and errors."""
