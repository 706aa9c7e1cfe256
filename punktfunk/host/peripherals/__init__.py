"""What passes beside a stream's pictures: input and gamepads in, sound, rumble and lights out.

Not here: the datagrams of a wire (``native``), and how a desktop takes input (``desktop``).
"""
