"""Tangents of the chosen scalars, some of them side by side through the layers behind them."""
