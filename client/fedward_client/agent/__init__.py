"""The agent: the one service that a hospital runs. It calls out, and nothing calls in."""
