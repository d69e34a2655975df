"""What the step benchmarks share: model shapes, token rows, the steps to be compared, and how they are measured."""
