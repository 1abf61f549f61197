"""The matrix of the zoo: what of it trains, and on record."""
