"""Exact per-sample Jacobians of any model: probe it, plan the columns, go through it in chunks.

problem   checked arguments               mode      reverse or forward, by counts
jacobian  one mode, or what is left       chunks    reverse: sizes, threads, order
capture   hooks that record layer calls   graph     reads the autograd graph
probe     two samples, do they mix        watch     what a forward does to its own modules
trace     what has a rule, what has none  plan      the table of columns
fusion    layers that go together         fused     computes them together
reverse   columns by layer rules          fallback  columns by autograd, sample by sample
operations  layers read off the graph
owners    whose rows layers hold          sinks      where gradients are read
tape      backward passes, compiled       replay    what is read of a tape
forward   columns by tangents, checked    forward_chunks  their sizes
tangents  how they begin, by rules        lanes     which go together
"""
