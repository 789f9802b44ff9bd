"""Layers that are computed together: found in the graph, and replaced for the length of a call."""
