"""What a phone does to its update before anybody sees it: clipping, and noise of its own."""
