"""What a model does, found out on two samples and proved again for every chunk."""
