"""Any model by name: where it comes from, and its scores."""
