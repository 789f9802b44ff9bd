"""Exact per-sample Jacobians of any model: probe it, plan the columns, go through it in chunks.

problem   checked arguments               trace    what the probe finds out about the model
capture   hooks that record layer calls   graph    reads the autograd graph
plan      the table of columns            fold     BatchNorm into convolutions
reverse   columns by layer rules          fallback columns by autograd, sample by sample
chunks    sizes, threads, order
"""
