"""A user's words -> a checked config -> the parts of a run; may import training and all below."""
