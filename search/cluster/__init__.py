"""A run on many machines: one process pool on each, and one driver that holds the only state."""
