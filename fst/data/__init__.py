"""Photos to learn from; may import nets, loss, pictures, system and errors."""
