"""The model zoo: methods, backbones, layers, losses, data, training and personalisation."""
