"""The measurement harness: scenarios, links, peers, runs, figures and reports.

Not here: anything that a host or a client needs to stream (``punktfunk``), and tests (``tests``).
"""
