"""Searches from Python: begin or go on with one, open one, and look at its results.

Use it as `from vkdnw import search`; the command line is a thin layer over the same functions.
"""
