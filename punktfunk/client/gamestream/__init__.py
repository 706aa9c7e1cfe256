"""A GameStream client without a window, for the lab: it pairs, lists, launches, streams, sends input, counts losses.

Not here: packets of video and sound, FEC and ENet (``core``), messages and ciphers (``punktfunk/gamestream``), and what
any client needs (decoder, records, how a session ends), which is the other client's too.
"""
