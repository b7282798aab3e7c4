"""Photos -> pictures; may import nets, loss, pictures, system and errors."""
