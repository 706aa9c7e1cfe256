"""A GameStream client without a window, for the lab: it pairs, lists, launches, streams, sends input, counts losses.

Not here: packets of video and sound, FEC and ENet (``core``), messages and ciphers (``punktfunk/gamestream``), and the
client of punktfunk/1 (``punktfunk/client``).
"""
