"""Search spaces, one folder each."""
