"""Rankings made of scores: aggregates, agreement with accuracies, spread, published tables."""
