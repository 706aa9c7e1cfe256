"""GameStream, the wire of Moonlight clients: messages, parsers, state machines and ciphers of its control plane.

Not here: packets of video and sound, FEC and ENet (``core``), sockets, servers and sessions (``host/gamestream``), the
headless client (``client/gamestream``), who is trusted (``trust``).
"""
