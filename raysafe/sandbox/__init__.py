"""The embedded world: its rows (`world`), its judge (`rules`), its tokenizer and its tiny aligned model."""
