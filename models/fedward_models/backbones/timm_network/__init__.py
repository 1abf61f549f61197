"""Any network of timm."""
