"""Exact per-sample Jacobians of any model: probe it, plan the columns, compute chunks, verify.

problem       checked arguments             mode       reverse or forward, by counts
jacobian      methods, fastest first        plan       the table of columns
verification  against plain autograd        tolerance  how far rounding may go
plain_pass    the unchanged model           fallback   columns by autograd, sample by sample
known_layers  whose graph is known
capture       hooks that record layer calls
probing       two samples: rules, rows, random draws, train mode, functions of the model's own
fusion        layers that are computed together
reverse_mode  a chunk by backward passes    forward_mode  a chunk by tangents
"""
