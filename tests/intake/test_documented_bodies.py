"""The example bodies of Axiom's two documents, as printed: events, and the bytes that the answer will report."""

import json

import pytest

from tailrace.intake import Limits, TimeRule, cut_csv, cut_json

