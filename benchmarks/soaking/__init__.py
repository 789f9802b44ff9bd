"""The runs that `benchmarks/soak.py` does things to."""
