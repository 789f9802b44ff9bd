"""Typed wrappers of the native ops, one file a family, and the loading of their library."""
