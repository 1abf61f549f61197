"""Carries runs from state to state: the queue, the decisions, and the loop. The rows of runs are the queue."""
