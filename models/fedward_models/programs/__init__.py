"""How a stage is carried out at a site: with torch, or with numpy alone."""
