"""A stream: its worker process (source, encoder, core), the orders to it, and the handle that the host holds.

Not here: who may stream and how many (``host/capacity.py``), and what a client and the host agree on
(``host/native/negotiation.py``).
"""
