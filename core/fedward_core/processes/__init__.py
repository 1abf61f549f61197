"""Processes of this machine: who they are, and how they are started and ended. Nothing is imported here: see shim."""
