"""The vision transformer of BEiT."""
