"""Pictures of a run, drawn into files with matplotlib.

Every picture is a function that returns a matplotlib figure; nothing global is touched, so figures
can be drawn in any thread and without a display.
"""
