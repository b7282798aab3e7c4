"""How fast it is; may import inference, data and the wings below them."""
