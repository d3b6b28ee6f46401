"""What a protocol declares of the fields that it writes, beyond what their values say."""

from collections.abc import Mapping
from typing import Literal

DeclaredType = Literal["timespan", "map"]
"""`timespan`: whole numbers are nanoseconds of one. `map`: an object is one field, whatever is inside of it."""

DeclaredFields = Mapping[str, DeclaredType]
"""Types by the names of fields, which are paths with dots."""
