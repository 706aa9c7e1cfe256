"""The typed face of the native protocol core: FEC, packets, crypto, pacing, sessions, link emulation."""
