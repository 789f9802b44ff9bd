"""Parts that several spaces are made of, each written once."""
