"""Tangents of the chosen scalars, several at a time through the layers behind them."""
