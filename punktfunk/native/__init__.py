"""punktfunk/1: messages, control state machines, the QUIC shell, identities, the native host and client."""
