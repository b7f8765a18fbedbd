"""The report: one HTML file made from result files."""

from __future__ import annotations

from .page import write_report
