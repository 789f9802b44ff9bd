"""Models composed at random from a grammar: each is right, or refused."""
