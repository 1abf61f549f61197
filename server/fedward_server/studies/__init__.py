"""Studies: groups of sites with one dataset and one purpose."""
