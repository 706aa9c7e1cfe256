"""GameStream, the wire of Moonlight clients: messages, parsers, state machines and ciphers of its control plane.

Not here: packets of video and sound, FEC and ENet (``core``), sockets, servers and sessions (``host/gamestream``), who
is trusted (``trust``). ``client`` is the one part that does I/O; nothing else here may import it.
"""
