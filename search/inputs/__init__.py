"""What networks are shown: noise, or images from files; the same for all networks of a seed."""
