"""Images -> Outputs: residual backbones, gates, heads and their composition."""
