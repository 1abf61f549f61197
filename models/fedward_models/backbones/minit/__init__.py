"""Transformers for whole volumes: MINiT and NiT."""
