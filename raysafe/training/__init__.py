"""Engine, training loop, selector loop."""
