"""What a style is worth; may import all wings but commands."""
