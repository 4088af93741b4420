"""From the official releases of data sets to one store: `scripts/prepare_*.py` are its commands."""
