"""Scenario files: reading, checking, diagnostics with positions, expansion into cases.

Not here: how a case is run (``run``).
"""
