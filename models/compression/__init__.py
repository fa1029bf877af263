"""EI-BERT: one module per stage, in the order in which `pipeline.compress` calls them."""
