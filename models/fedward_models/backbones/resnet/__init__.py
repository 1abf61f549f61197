"""The residual network of bottlenecks for images."""
