"""What stands around a training run: its configuration and its experiment directory. No torch."""
