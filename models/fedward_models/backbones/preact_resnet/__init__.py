"""The pre-activation residual network."""
