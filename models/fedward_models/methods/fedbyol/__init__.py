"""Learning without labels by predicting what a slow copy sees."""
