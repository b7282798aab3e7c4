"""The run itself, in Lightning; may import inference, data and the wings below them."""
