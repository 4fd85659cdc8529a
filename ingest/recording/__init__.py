"""Writing down training that happens elsewhere: in your own loop, or in the Trainer of transformers."""
