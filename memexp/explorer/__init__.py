"""One offline page in which trained models can be explored."""
