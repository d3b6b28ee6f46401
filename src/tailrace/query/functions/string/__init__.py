"""String functions."""

from tailrace.query.functions.string import building, checks, encodings, formats, replacing, search

FUNCTIONS = (
    *encodings.FUNCTIONS, *checks.FUNCTIONS, *search.FUNCTIONS, *formats.FUNCTIONS, *replacing.FUNCTIONS,
    *building.FUNCTIONS,
)  # fmt: skip
