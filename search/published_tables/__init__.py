"""The published tables of accuracies and device figures: which there are, and for which space."""
