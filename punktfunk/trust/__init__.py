"""Who is known: identities, the store of paired clients, open trust, files that only their owner reads.

Not here: how a pairing is made (``native``, ``host``), and who may use the API (``mgmt``).
"""
