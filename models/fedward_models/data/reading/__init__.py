"""From files in any of the formats that hospitals keep to 8-bit pixels of one size."""
