"""Processes at the two ends of a live link: ours or a foreign program's, each in its namespace."""
