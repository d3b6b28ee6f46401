"""Functions of series, which are arrays of numbers; what is no number in one counts as missing and gives null."""

from tailrace.query.functions.series import elementwise, filling, signals, statistics

FUNCTIONS = (*elementwise.FUNCTIONS, *statistics.FUNCTIONS, *filling.FUNCTIONS, *signals.FUNCTIONS)
