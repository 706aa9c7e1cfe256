"""Captures taken apart: both wires as scapy layers, streams and frames counted again, the ledger's second opinion.

Not here: FEC, encryption and the rules of a receiver, which are the core's own, and the capturing itself
(``harness.network``). scapy takes a second to load: whoever runs without a capture imports nothing of this.
"""
