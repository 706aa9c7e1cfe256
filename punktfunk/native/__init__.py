"""punktfunk/1 control: messages and datagrams, state machines without I/O, the QUIC shell, discovery.

Not here: packets and FEC (``core``), who is trusted (``trust``), streams and workers (``host``, ``client``).
"""
