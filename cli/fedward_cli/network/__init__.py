"""A coordinator spoken to by REST, and whole networks as processes of this machine."""
