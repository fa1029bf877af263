"""Floor 2: what a phone does (serving, local training, clipping, evaluation, the ClientApp)."""
