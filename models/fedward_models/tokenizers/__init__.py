"""Tokenizers: what turns the patches of an image into numbers of a vocabulary. They are frozen and never travel."""
