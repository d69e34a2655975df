"""YAML in, frozen objects out, every problem told at once: sections, sweeps into trials, rules across sections."""
