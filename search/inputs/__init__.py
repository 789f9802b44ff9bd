"""The inputs of networks: noise, or images from files; the same for all networks of a seed."""
