"""Facts about a model, found on two samples and checked again for every chunk."""
