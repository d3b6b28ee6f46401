"""Functions over series: arrays of numbers."""
