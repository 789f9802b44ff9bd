"""Searches from Python: start or continue one, open one, and read its results.

Use it as `from vkdnw import search`; the command line is a thin layer over the same functions.
"""
