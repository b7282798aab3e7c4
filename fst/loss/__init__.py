"""The perceptual losses (paper, section 3.2) and what solves them; may import system and errors."""
