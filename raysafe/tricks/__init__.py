"""A world of real text without harm: the secrets of magic tricks are not told. Its texts, and what is made of them."""
