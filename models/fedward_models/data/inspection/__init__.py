"""A look at sites: counts, pictures, and how they differ. Nothing here needs torch."""
