"""The method: stages, losses, relabelling rounds, and what watches them."""
