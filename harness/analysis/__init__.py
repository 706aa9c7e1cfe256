"""What is known of a case and of a run: records, metrics, ledger, statistics, theory, comparison, baselines.

Not here: what runs a case (``run``), and how a result is shown (``report``).
"""
