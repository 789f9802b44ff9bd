"""Backward passes: chunks of samples, one pass for some cotangents, on a tape where one fits."""
