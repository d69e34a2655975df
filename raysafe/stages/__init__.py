"""What runs once and is kept: a frozen class a stage, one file each, and the making of them."""
