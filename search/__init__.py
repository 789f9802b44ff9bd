"""Search spaces, the runs that score them, and the rankings that come out.

Nothing is imported here: the command line must answer `--help` without loading torch.
"""
