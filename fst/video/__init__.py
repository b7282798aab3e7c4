"""Moving pictures -> moving pictures; may import what ``inference`` may, and it."""
