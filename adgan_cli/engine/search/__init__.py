"""Algorithm 1 of the paper: the search in the latent space."""
