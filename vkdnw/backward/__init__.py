"""Backward passes: reading the autograd graph, and the native tape compiled from it."""
