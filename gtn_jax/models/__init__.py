"""Images -> Outputs: residual trunks, gates, heads and their composition."""
