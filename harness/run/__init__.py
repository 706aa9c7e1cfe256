"""Runs: which cases in which order, one case over a simulated or live link, its checks and the verdict of the run.

Not here: what the links do (``link``), and what the figures mean (``analysis``).
"""
