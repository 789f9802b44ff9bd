"""Model-driven rankings: a model fitted to the accuracies of some networks ranks the rest."""
