"""Threads, memory, garbage collection, precision, and a model kept as it was."""
