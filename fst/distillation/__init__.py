"""A slim loss network from a big one; may import inference, data and the wings below them."""
