"""Finished models as files for other programs, with a model card of what is known of them."""
