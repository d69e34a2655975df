"""The only package that imports ray: worker groups, the desk that hands them stages, and sweeps."""
