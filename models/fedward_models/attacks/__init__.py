"""Attacks on classifiers: small changes of pixels that change the decision. They know no method and no network.

All of them take pixels in [0, 1], and ``logits_of``, which classifies such pixels and standardises them itself.
"""
