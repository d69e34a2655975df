"""Policy and frozen models: loading, adapters, label log-probabilities, generation."""
