"""Gated transfer networks in JAX: pretrained ResNets, adapted with a gate to small image sets."""
