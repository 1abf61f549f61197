"""The small CNN of the LG-FedAvg comparison."""
