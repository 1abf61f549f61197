"""Experiments that take hours: each compares with a published table."""
