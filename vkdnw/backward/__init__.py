"""Backward passes: the autograd graph as it is read, and the native tape compiled from it."""
