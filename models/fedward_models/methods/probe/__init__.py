"""What a frozen backbone knows: a head that is trained on it alone."""
