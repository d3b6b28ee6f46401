"""Names of attributes in OpenTelemetry's semantic conventions, those that are deprecated too.

Names that end in a part of the sender's choice, as those of HTTP headers do, are not among them.
"""

from pathlib import Path

CONVENTIONS = frozenset((Path(__file__).parent / "semantic_conventions.txt").read_text().split())
