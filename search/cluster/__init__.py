"""A run on many machines: one process pool on each, and one driver with the only state."""
