"""From the official releases of data sets to one store: `mask-sup prepare` is its command."""
