"""What stays private at a site: layers, norms or channels."""
