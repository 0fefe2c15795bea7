"""Jobs that make a bundle: import, simulate, fine-tune, export, fit, evaluate, publish, batch score."""
