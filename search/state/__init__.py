"""The only state of a run: one SQLite file, its lock, who writes it and who reads it."""
