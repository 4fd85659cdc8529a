"""The mathematics of measures of language models: tensor functions and streaming reducers, no models, no measures."""
