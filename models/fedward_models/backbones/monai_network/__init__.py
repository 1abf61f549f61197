"""Any network of MONAI, over images or volumes."""
